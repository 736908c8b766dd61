"""Which conclusions all metrics share, and where they differ: sentences from metrics.csv."""

from yoyak.config.study import Study
from yoyak.reporting.metric_rows import FROM_FLOOR
from yoyak.reporting.results import METRIC_NAMES, TOKENIZER_NAMES, Row
from yoyak.reporting.study_tables import StudyTables

GAIN = "fine_tuned-zero_shot"


def conclusions(study: Study, study_tables: StudyTables) -> list[str]:
    """Two sentences: the sign of the change from zero-shot, and the side of the strongest floor.

    Of the first variant's trainings, as the report's answer is.
    """
    tested = [row for row in study_tables.rows("metrics") if row["test"]]
    levels = study_tables.rows("metrics", name=FROM_FLOOR, variant=study.variants[0])
    gains = {_name(row): "raised" if row["mean"] > 0 else "lowered" for row in tested}
    open_ones = [_name(row) for row in tested if row["ci_low"] is None or _holds_0(row)]
    sides = {_name(row): _side(_of(levels, row)) for row in tested}
    change = _told(gains, "fine-tuning {} the mean of the trainings against zero-shot")
    if open_ones:
        every = len(open_ones) == len(tested)
        change += f" No interval leaves out 0 under {'any' if every else _listed(open_ones)}."
    return [change, _told(sides, "the trainings lie {} the strongest floor")]


def _told(found: dict[str, str], sentence: str) -> str:
    """One sentence where all scores say the same, else one that names who says what."""
    said = list(dict.fromkeys(found.values()))
    if len(said) == 1:
        many = f"Under all {len(found)} scores" if len(found) > 1 else "Under the one score"
        return f"{many} {sentence.format(said[0])}."
    parts = [
        f"{sentence.format(what)} under {_listed([n for n in found if found[n] == what])}"
        for what in said
    ]
    return f"The scores differ: {'; '.join(parts)}."


def _of(levels: list[Row], score: Row) -> list[Row]:
    """Differences from the strongest floor under one score, over all seeds if there are several."""
    found = [row for row in levels if _name(row) == _name(score)]
    return [row for row in found if row["seed"] is None] or found


def _side(rows: list[Row]) -> str:
    above = sum((row["ci_low"] or 0) > 0 for row in rows)
    below = sum((row["ci_high"] or 0) < 0 for row in rows)
    if above == len(rows):
        return "above"
    return "below" if below == len(rows) else "not all on one side of"


def _holds_0(row: Row) -> bool:
    return row["ci_low"] <= 0 <= row["ci_high"]


def _name(row: Row) -> str:
    if row["tokenizer"] is None:
        return METRIC_NAMES[row["metric"]]
    return f"{METRIC_NAMES[row['metric']]} in {TOKENIZER_NAMES[row['tokenizer']]}"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
