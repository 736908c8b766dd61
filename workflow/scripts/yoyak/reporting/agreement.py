"""Which conclusions all metrics share, and where they differ: sentences from metrics.csv."""

from yoyak.config.study import Study
from yoyak.reporting.metric_rows import FROM_FLOOR
from yoyak.reporting.results import METRIC_NAMES, Row
from yoyak.reporting.study_tables import StudyTables
from yoyak.reporting.texts import Texts, texts_of


def conclusions(study: Study, study_tables: StudyTables) -> list[str]:
    """Two sentences: the sign of the change from zero-shot, and the side of the strongest floor.

    Of the first variant's trainings, as the report's answer is.
    """
    texts = texts_of(study)
    tested = [row for row in study_tables.rows("metrics") if row["test"]]
    levels = study_tables.rows("metrics", name=FROM_FLOOR, variant=study.variants[0])
    names = [_name(texts, row) for row in tested]
    gains = ["higher" if row["mean"] > 0 else "lower" for row in tested]
    sides = [_side(_of(levels, row)) for row in tested]
    open_ones = [row["ci_low"] is None or _holds_0(row) for row in tested]
    change = _told(texts, names, gains)
    if any(open_ones):
        named = [name for name, is_open in zip(names, open_ones, strict=True) if is_open]
        scores = texts("conclusions.any") if all(open_ones) else _listed(texts, named)
        change += texts("conclusions.open", scores=scores)
    return [change, _told(texts, names, sides)]


def _told(texts: Texts, names: list[str], said: list[str]) -> str:
    """One sentence where all scores say the same, else one that names who says what."""
    different = dict.fromkeys(said)
    what = {key: texts(f"conclusions.{key}") for key in different}
    if len(different) == 1:
        return texts("conclusions.same", n=len(names), what=what[said[0]])
    parts = [
        texts(
            "conclusions.part",
            what=what[key],
            scores=_listed(texts, [n for n, one in zip(names, said, strict=True) if one == key]),
        )
        for key in different
    ]
    return texts("conclusions.differ", parts="; ".join(parts))


def _of(levels: list[Row], score: Row) -> list[Row]:
    """Differences from the strongest floor under one score, over all seeds if there are several."""
    keys = ("metric", "tokenizer")
    found = [row for row in levels if all(row[key] == score[key] for key in keys)]
    return [row for row in found if row["seed"] is None] or found


def _side(rows: list[Row]) -> str:
    above = sum((row["ci_low"] or 0) > 0 for row in rows)
    below = sum((row["ci_high"] or 0) < 0 for row in rows)
    if above == len(rows):
        return "above"
    return "below" if below == len(rows) else "mixed"


def _holds_0(row: Row) -> bool:
    return row["ci_low"] <= 0 <= row["ci_high"]


def _name(texts: Texts, row: Row) -> str:
    metric, tokenizer = METRIC_NAMES[row["metric"]], row["tokenizer"]
    if tokenizer is None:
        return metric
    named = texts(f"tokenizers.{tokenizer}")
    return texts("conclusions.metric", metric=metric, tokenizer=named)


def _listed(texts: Texts, names: list[str]) -> str:
    return texts("words.and").join(filter(None, (", ".join(names[:-1]), names[-1])))
