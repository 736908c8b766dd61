"""Sentences about the level that trainings reach, against floors and human agreement."""

from yoyak.config.study import Study
from yoyak.reporting.results import (
    FALSE,
    HUMAN,
    TOKENIZER_NAMES,
    Row,
    content_tokenizer,
    context_name,
)
from yoyak.reporting.study_tables import Sentence, StudyTables, percent

MOST = 0.75  # share of human agreement above which a score hardly sees what is false


def against_floors(
    study: Study, study_tables: StudyTables, tokenizer: str, group: str = "all"
) -> Sentence:
    """How many trainings lie above every floor or below the strongest one, and by how much.

    It speaks of the study's first variant, as the questions do. "Above" asks for an interval above
    0 against each floor, "below" for one below 0 against the strongest.
    """
    rows = trained(study, study_tables, tokenizer, group)
    total = len(rows)
    above = sum((row["ci_low"] or 0) > 0 for row in rows)
    below = sum((row["ci_high"] or 0) < 0 for row in rows)
    low = min(rows, key=lambda row: row["difference"])
    high = max(rows, key=lambda row: row["difference"])
    few = {1: "The one fine-tuned score lies", 2: "Both fine-tuned scores lie"}
    many = few.get(total, f"All {total} fine-tuned scores lie")
    undecided = total - above - below
    if below == total:
        opening = f"{many} below the strongest floor, "
    elif above == total:
        opening = f"{many} above every floor. The strongest is "
    elif undecided == total:
        scores = f"any of {total} fine-tuned scores" if total > 1 else "the one fine-tuned score"
        opening = f"The strongest floor cannot be told from {scores}. It is "
    else:
        opening = (
            f"Of {total} fine-tuned scores {above} lie above every floor, {below} below the "
            f"strongest, and {undecided} cannot be told from it. The strongest is "
        )
    floor = study_tables.rows("context", name=high["floor"], tokenizer=tokenizer, group=group)[0]
    level = study_tables.cell("context", floor, "rouge_mean")
    points = [study_tables.cell("levels", row, "difference", signed=True) for row in (low, high)]
    spread: Sentence = points[:1] if total == 1 else [points[0], " to ", points[1]]
    return [f"{opening}{context_name(high['floor'])} (", level, "): ", *spread, " points."]


def content_alone(study: Study, study_tables: StudyTables) -> list[Sentence]:
    """The same on content morphemes; none if the study has no such tokenizer."""
    tokenizer = content_tokenizer(study)
    if tokenizer is None:
        return []
    return [
        ["Content alone, style left out: ", *_lower(against_floors(study, study_tables, tokenizer))]
    ]


def human_agreement_gap(study: Study, study_tables: StudyTables) -> list[Sentence]:
    """The best training against human agreement, under each first-screen tokenizer."""
    found = []
    for tokenizer in (study.settings.metric.primary, content_tokenizer(study)):
        if tokenizer is None:
            continue
        if agreement := study_tables.rows("context", name=HUMAN, tokenizer=tokenizer, group="all"):
            best = max(trained(study, study_tables, tokenizer), key=lambda row: row["difference"])
            found.append(_human_agreement_gap(study_tables, agreement[0], best))
    return found


def falsified_references(study: Study, study_tables: StudyTables) -> list[Sentence]:
    """How the first-screen tokenizers score falsified references."""
    text: Sentence = []
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
        text += [
            ", " if text else "",
            reached,
            f" ({TOKENIZER_NAMES[tokenizer]}; human agreement ",
            own,
            ")",
        ]
    opening = "ROUGE hardly detects errors: references" if blind else "References"
    what = " with speakers swapped, numbers changed or a predicate negated reach "
    return [[opening + what, *text, "."]]


def of_group(study: Study, study_tables: StudyTables, tokenizer: str, group: str) -> Sentence:
    """A group of dialogues against its own floors."""
    n = study_tables.cell("levels", trained(study, study_tables, tokenizer, group)[0], "n")
    level = _lower(against_floors(study, study_tables, tokenizer, group))
    return [f"Dialogues marked “{group}” (n = ", n, "), against their own floors: ", *level]


def trained(
    study: Study, study_tables: StudyTables, tokenizer: str, group: str = "all"
) -> list[Row]:
    """Rows of levels.csv of the first variant's trainings; over all seeds, where it has several."""
    rows = study_tables.rows("levels", tokenizer=tokenizer, group=group, variant=study.variants[0])
    return [row for row in rows if row.get("seed") is None] or rows


def _human_agreement_gap(study_tables: StudyTables, agreement: Row, best: Row) -> Sentence:
    named = TOKENIZER_NAMES[best["tokenizer"]]
    difference, low, high = (
        study_tables.cell("levels", best, f"human_{key}", signed=True)
        for key in ("difference", "ci_low", "ci_high")
    )
    level = study_tables.cell("context", agreement, "rouge_mean")
    start: Sentence = ["Human agreement is ", level, f" ({named}); the best training differs"]
    start += [" from it by ", difference, " points"]
    start += [] if low is None else [" [", low, ", ", high, "]"]
    if best["share"] is None:
        end = ", and the strongest floor lies above it: this score cannot show understanding."
        return [*start, end]
    if best["share"] <= 0:
        return [*start, ", farther than the strongest floor."]
    share = percent(f"levels/{best['row']}/share", best["share"])
    return [*start, " and goes ", share, " % of the way to it from the strongest floor."]


def _lower(sentence: Sentence) -> Sentence:
    first, *rest = sentence
    assert isinstance(first, str)
    return [first[0].lower() + first[1:], *rest]
