"""The answers to the study's questions in words, as far as seeds and dialogues support them."""

from yoyak.config.study import Study
from yoyak.reporting.results import Row, undertrained
from yoyak.reporting.study_tables import Sentence, StudyTables
from yoyak.reporting.texts import Texts, texts_of

FIRST = "fine_tuned-zero_shot"
OTHERS = {
    "fine_tuned_templates-fine_tuned": "answer.templates",
    "chat-instruction": "answer.formats",
}


def headline(study: Study, study_tables: StudyTables) -> Sentence:
    """What fine-tuning changes: the pooled difference from zero-shot, and how sure it is.

    For a model that was hardly trained it never says that fine-tuning changed nothing.
    """
    texts = texts_of(study)
    row = _first_question(study_tables)
    variant = study.variants[0]
    idle = len(undertrained(study_tables.rows("diagnostics", variant=variant)))
    total = row["trainings"] * row["seeds"]
    several = len(study.variants) > 1
    counts = {"idle": idle, "total": total}
    of = texts("headline.of", variant=variant) if several else ""
    outcome = {"up": "up", "down": "down", "undecided": "undecided"}.get(row["verdict"], "changed")
    which = ""
    if idle and outcome in ("undecided", "changed"):
        outcome = "hardly_trained"
        kind = "one" if total == 1 else "all" if idle == total else "some_of"
        which = texts(f"headline.{kind}", **counts, of=of)
    return texts.sentence(
        f"headline.{outcome}",
        which=which,
        mean=texts("headline.mean", n=total, of=of),
        change=_difference(texts, study_tables, row),
        basis=_basis(texts, study_tables, row),
        idle=texts("headline.idle", **counts) if idle else "",
    )


def question_sentences(study: Study, study_tables: StudyTables) -> list[Sentence]:
    """Sentences about what one seed leaves open, about templates and about formats."""
    texts = texts_of(study)
    first = _first_question(study_tables)
    told = [row for name in OTHERS if (row := _pooled(study_tables, name))]
    own = study.seeds_of(study.variants[0])
    seeds = len(own)
    sentences: list[Sentence] = []
    if seeds == 1:
        formats = texts("answer.no_claim") if told else ""
        sentences.append([texts("answer.one_seed", formats=formats)])
    elif seeds == 2:
        sentences.append([texts("answer.two_seeds", first=own[0], second=own[1])])
    if first["clusters"] < first["n"]:
        n, count = (study_tables.cell("questions", first, key) for key in ("n", "clusters"))
        sentences.append(texts.sentence("answer.kinds", n=n, count=count))
    if seeds > 1:
        sentences += [_of_question(texts, study_tables, row) for row in told]
    return sentences


def _of_question(texts: Texts, study_tables: StudyTables, row: Row) -> Sentence:
    return texts.sentence(
        OTHERS[row["comparison"]],
        verdict=texts(f"verdicts.{row['verdict']}"),
        difference=_difference(texts, study_tables, row),
        basis=_basis(texts, study_tables, row),
    )


def _first_question(study_tables: StudyTables) -> Row:
    row = _pooled(study_tables, FIRST)
    assert row is not None  # every study trains something
    return row


def _pooled(study_tables: StudyTables, name: str) -> Row | None:
    found = [row for row in study_tables.rows("questions", comparison=name) if row["verdict"]]
    return found[0] if found else None


def _difference(texts: Texts, study_tables: StudyTables, row: Row) -> Sentence:
    signed = row["verdict"] not in ("up",)
    if row["seeds"] != 2:
        value = study_tables.cell("questions", row, "difference", signed=signed)
        return texts.sentence("words.points", value=value)
    both = study_tables.rows("questions", comparison=row["comparison"])
    pair = [one for one in both if one["seed"] is not None]
    first, second = (study_tables.cell("questions", one, "difference", signed=True) for one in pair)
    return texts.sentence("headline.two_seeds", first=first, second=second)


def _basis(texts: Texts, study_tables: StudyTables, row: Row) -> Sentence:
    """Interval, p, and the smallest difference that an undecided question could have detected."""
    low, high, p_value, smallest = (
        study_tables.cell("questions", row, key)
        for key in ("ci_low", "ci_high", "p_value", "detectable")
    )
    if low is None:
        return []
    p, power = [], []
    if p_value is not None:
        p = [", p ", *(["= "] if p_value.text[:1] != "≤" else []), p_value]
    if row["verdict"] == "undecided":
        power = texts.sentence("headline.power", smallest=smallest)
    return texts.sentence("headline.basis", low=low, high=high, p=p, power=power)
