"""Rows of metrics.csv: every metric's scores, differences, floors and people, one number a row."""

from collections.abc import Iterable, Mapping

from yoyak.config.study_settings import Metric

SCORE, FROM_FLOOR = "score", "score-floor"


def metric_rows(
    metric: Metric,
    signatures: Mapping[str, str],
    scores: Iterable[dict],
    levels: Iterable[dict],
    differences: Iterable[dict],
    context: Iterable[dict],
) -> list[dict]:
    """The rows of other tables that stand for all dialogues, metric by metric.

    Args:
        signatures: by the name of a score, which these rows have as their "tokenizer".
        scores: of runs, and of trainings over all their seeds.
        levels: of levels.csv: differences from the strongest floor.
        differences: of differences.csv, and the tested ones over all trainings.
        context: of context.csv: floors, references made false, human agreement.
    """
    found = [
        *({"name": SCORE} | row for row in scores),
        *({"name": FROM_FLOOR, "mean": row["difference"]} | row for row in levels),
        *({"name": row["comparison"], "mean": row["difference"]} | row for row in differences),
        *context,
    ]
    found = [row for row in found if row.get("group", "all") == "all"]
    rows = []
    for name in metric.scores:
        rouge = name in metric.tokenizers
        what = {"metric": "rouge" if rouge else name, "tokenizer": name if rouge else None}
        rows += [
            {**row, **what, "signature": signatures[name]}
            for row in found
            if row["tokenizer"] == name
        ]
    return rows


def of_rouge(rows: Iterable[dict], metric: Metric) -> list[dict]:
    """Rows of the tables that are about ROUGE alone."""
    return [
        {**row, "rouge_mean": row.get("mean")}
        for row in rows
        if row["tokenizer"] in metric.tokenizers
    ]
