"""The answers to the study's questions in words, as far as seeds and dialogues support them."""

from yoyak.config.study import Study
from yoyak.reporting.results import Row, undertrained
from yoyak.reporting.study_tables import Sentence, StudyTables

FIRST = "fine_tuned-zero_shot"
OTHERS = {
    "fine_tuned_templates-fine_tuned": "Five instruction templates against one instruction",
    "chat-instruction": "The chat format against the instruction format",
}


def headline(study: Study, study_tables: StudyTables) -> Sentence:
    """What fine-tuning changes: the pooled difference from zero-shot, and how sure it is.

    For a model that was hardly trained it never says that fine-tuning changed nothing.
    """
    row = _first_question(study_tables)
    variant = study.variants[0]
    idle = len(undertrained(study_tables.rows("diagnostics", variant=variant)))
    total = row["trainings"] * row["seeds"]
    of = f" of variant {variant}" if len(study.variants) > 1 else ""
    where = f"the one training{of}" if total == 1 else f"{total} trainings{of}"
    change = _difference(study_tables, row)
    some = f"; {idle} of them hardly trained the model" if idle else ""
    if row["verdict"] == "up":
        text: Sentence = [f"Fine-tuning raised ROUGE in {_mean_of(where)} by ", *change]
    elif row["verdict"] == "down":
        text = [f"Fine-tuning lowered ROUGE in {_mean_of(where)}: ", *change]
    elif some:
        which = f"all {total} trainings" if 1 < total == idle else f"{idle} of {where}"
        which = "the one training" if total == 1 else which
        text = [f"The model was hardly trained in {which}, which tells nothing of fine-tuning; "]
        text += ["ROUGE differs by ", *change]
        some = ""
    elif row["verdict"] == "undecided":
        text = [f"Fine-tuning did not clearly change ROUGE in {_mean_of(where)}: ", *change]
    else:
        text = [f"Fine-tuning changed ROUGE in {_mean_of(where)} by ", *change]
    return [*text, " against the same model zero-shot", *_basis(study_tables, row), some, "."]


def question_sentences(study: Study, study_tables: StudyTables) -> list[Sentence]:
    """Sentences about what one seed leaves open, about templates and about formats."""
    first = _first_question(study_tables)
    told = [row for name in OTHERS if (row := _pooled(study_tables, name))]
    own = study.seeds_of(study.variants[0])
    seeds = len(own)
    sentences: list[Sentence] = []
    if seeds == 1:
        text = "One seed: training noise is outside all intervals, which speak of these trainings"
        text += "; nothing is claimed about templates or formats." if told else "."
        sentences.append([text])
    elif seeds == 2:
        sentences.append([f"Two seeds ({own[0]}, {own[1]}) allow no interval, and no claim."])
    if first["clusters"] < first["n"]:
        n, count = (study_tables.cell("questions", first, key) for key in ("n", "clusters"))
        text = " kinds (topics, or what the data call clusters); intervals count kinds."
        sentences.append([n, " dialogues are of ", count, text])
    if seeds > 1:
        for row in told:
            sentences.append(_of_question(study_tables, row))
    return sentences


def _of_question(study_tables: StudyTables, row: Row) -> Sentence:
    verdicts = {
        "up": "better by ",
        "down": "worse: ",
        "undecided": "undecided: ",
        "not tested": "not tested, since an earlier question is undecided: ",
    }
    words = verdicts.get(row["verdict"], "no claim: ")
    return [
        f"{OTHERS[row['comparison']]}, {words}",
        *_difference(study_tables, row),
        *_basis(study_tables, row),
        ".",
    ]


def _first_question(study_tables: StudyTables) -> Row:
    row = _pooled(study_tables, FIRST)
    assert row is not None  # every study trains something
    return row


def _pooled(study_tables: StudyTables, name: str) -> Row | None:
    found = [row for row in study_tables.rows("questions", comparison=name) if row["verdict"]]
    return found[0] if found else None


def _difference(study_tables: StudyTables, row: Row) -> Sentence:
    signed = row["verdict"] not in ("up",)
    if row["seeds"] != 2:
        return [study_tables.cell("questions", row, "difference", signed=signed), " points"]
    both = study_tables.rows("questions", comparison=row["comparison"])
    pair = [one for one in both if one["seed"] is not None]
    first, second = (study_tables.cell("questions", one, "difference", signed=True) for one in pair)
    return [first, " points with one seed and ", second, " with the other"]


def _basis(study_tables: StudyTables, row: Row) -> Sentence:
    """Interval, p, and the smallest difference that an undecided question could have detected."""
    low, high, p_value, smallest = (
        study_tables.cell("questions", row, key)
        for key in ("ci_low", "ci_high", "p_value", "detectable")
    )
    if low is None:
        return []
    text: Sentence = [" (95 % interval ", low, " to ", high]
    if p_value is not None:
        text += [", p ", *(["= "] if p_value.text[:1] != "≤" else []), p_value]
    if row["verdict"] == "undecided":
        text += ["; so many dialogues and seeds tell ", smallest, " at 80 % power"]
    return [*text, ")"]


def _mean_of(where: str) -> str:
    return where if where.startswith("the one training") else f"the mean of {where}"
