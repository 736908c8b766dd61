"""Sentences about the level that trainings reach, against floors and human agreement."""

from yoyak.config.study import Study
from yoyak.reporting.results import FALSE, HUMAN, Row, content_tokenizer, context_name
from yoyak.reporting.study_tables import Sentence, StudyTables, percent
from yoyak.reporting.texts import Texts, texts_of

MOST = 0.75  # share of human agreement above which a score hardly sees what is false


def against_floors(
    study: Study, study_tables: StudyTables, tokenizer: str, group: str = "all"
) -> Sentence:
    """How many trainings lie above every floor or below the strongest one, and by how much.

    It speaks of the study's first variant, as the questions do. "Above" asks for an interval above
    0 against each floor, "below" for one below 0 against the strongest.
    """
    texts = texts_of(study)
    rows = trained(study, study_tables, tokenizer, group)
    total = len(rows)
    above = sum((row["ci_low"] or 0) > 0 for row in rows)
    below = sum((row["ci_high"] or 0) < 0 for row in rows)
    low = min(rows, key=lambda row: row["difference"])
    high = max(rows, key=lambda row: row["difference"])
    floor = study_tables.rows("context", name=high["floor"], tokenizer=tokenizer, group=group)[0]
    least, most = (
        study_tables.cell("levels", row, "difference", signed=True) for row in (low, high)
    )
    undecided = total - above - below
    outcomes = {"below": below, "above": above, "undecided": undecided}
    outcome = next((name for name, count in outcomes.items() if count == total), "mixed")
    return texts.sentence(
        f"level.{outcome}",
        many=texts("level.many", n=total),
        any=texts("level.any", n=total),
        total=total,
        **outcomes,
        floor=context_name(texts, high["floor"]),
        level=study_tables.cell("context", floor, "rouge_mean"),
        spread=least if total == 1 else texts.sentence("level.range", low=least, high=most),
    )


def content_alone(study: Study, study_tables: StudyTables) -> list[Sentence]:
    """The same on content morphemes; none if the study has no such tokenizer."""
    tokenizer = content_tokenizer(study)
    if tokenizer is None:
        return []
    level = _lower(against_floors(study, study_tables, tokenizer))
    return [texts_of(study).sentence("level.content", level=level)]


def human_agreement_gap(study: Study, study_tables: StudyTables) -> list[Sentence]:
    """The best training against human agreement, under each first-screen tokenizer."""
    found = []
    for tokenizer in (study.settings.metric.primary, content_tokenizer(study)):
        if tokenizer is None:
            continue
        if agreement := study_tables.rows("context", name=HUMAN, tokenizer=tokenizer, group="all"):
            best = max(trained(study, study_tables, tokenizer), key=lambda row: row["difference"])
            found.append(_human_agreement_gap(texts_of(study), study_tables, agreement[0], best))
    return found


def falsified_references(study: Study, study_tables: StudyTables) -> list[Sentence]:
    """How the first-screen tokenizers score falsified references."""
    texts = texts_of(study)
    listed: Sentence = []
    blind = True
    for tokenizer in filter(None, (study.settings.metric.primary, content_tokenizer(study))):
        false, agreement = (
            study_tables.rows("context", name=name, tokenizer=tokenizer, group="all")
            for name in (FALSE, HUMAN)
        )
        if not (false and agreement):
            return []
        blind &= false[0]["rouge_mean"] > MOST * agreement[0]["rouge_mean"]
        reached, own = (
            study_tables.cell("context", rows[0], "rouge_mean") for rows in (false, agreement)
        )
        named = texts(f"tokenizers.{tokenizer}")
        listed += [", "] if listed else []
        listed += texts.sentence("level.falsified", reached=reached, tokenizer=named, own=own)
    return [texts.sentence("level.blind" if blind else "level.seen", list=listed)]


def of_group(
    study: Study, study_tables: StudyTables, tokenizer: str, group: str, gain: Sentence
) -> Sentence:
    """A group of dialogues against its own floors, and its gain over zero-shot."""
    n = study_tables.cell("levels", trained(study, study_tables, tokenizer, group)[0], "n")
    level = _lower(against_floors(study, study_tables, tokenizer, group))
    return texts_of(study).sentence("level.group", group=group, n=n, level=level, gain=gain)


def trained(
    study: Study, study_tables: StudyTables, tokenizer: str, group: str = "all"
) -> list[Row]:
    """Rows of levels.csv of the first variant's trainings; over all seeds, where it has several."""
    rows = study_tables.rows("levels", tokenizer=tokenizer, group=group, variant=study.variants[0])
    return [row for row in rows if row.get("seed") is None] or rows


def _human_agreement_gap(
    texts: Texts, study_tables: StudyTables, agreement: Row, best: Row
) -> Sentence:
    difference, low, high = (
        study_tables.cell("levels", best, f"human_{key}", signed=True)
        for key in ("difference", "ci_low", "ci_high")
    )
    start = texts.sentence(
        "level.human",
        level=study_tables.cell("context", agreement, "rouge_mean"),
        tokenizer=texts(f"tokenizers.{best['tokenizer']}"),
        difference=difference,
        interval=[] if low is None else [" [", low, ", ", high, "]"],
    )
    if best["share"] is None:
        return texts.sentence("level.human_below_floor", start=start)
    if best["share"] <= 0:
        return texts.sentence("level.human_farther", start=start)
    share = percent(f"levels/{best['row']}/share", best["share"])
    return texts.sentence("level.human_share", start=start, share=share)


def _lower(sentence: Sentence) -> Sentence:
    first, *rest = sentence
    assert isinstance(first, str)
    return [first[0].lower() + first[1:], *rest]
