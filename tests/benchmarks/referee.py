"""The referee's table: every floor, falsehood, human agreement and run under every metric.

    PYTHONPATH=workflow/scripts python tests/benchmarks/referee.py results/STUDY

Prints Markdown for docs/validity.md from a study's results folder: means × 100 with their 95 %
intervals, over all dialogues. Where no run is compared yet, the rows of the rule `floors` alone.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from yoyak.config.study_settings import Metric
from yoyak.data.dialogues import read_dialogues
from yoyak.reporting.metric_rows import SCORE
from yoyak.reporting.results import FLOOR, context_name, run_name, score_name
from yoyak.reporting.texts import Texts
from yoyak.scoring.floors import context_rows, read_levels

ENGLISH = Texts("en")


def main() -> None:
    results = Path(sys.argv[1])
    rows = pd.DataFrame([*levels(results), *runs(results)])
    table = rows.pivot(index=["row", "n"], columns="metric", values="cell")
    table = table.loc[rows[["row", "n"]].drop_duplicates().itertuples(index=False, name=None)]
    table = table[rows["metric"].unique()].fillna("–")
    print(f"| | n | {' | '.join(table)} |")
    print(f"|---|---:|{'---:|' * table.shape[1]}")
    for (name, n), cells in table.iterrows():
        print(f"| {name} | {n} | {' | '.join(cells)} |")


def levels(results: Path) -> Iterator[dict]:
    """Floors, references made false, and people."""
    record = json.loads((results / "floors" / "run.json").read_text(encoding="utf-8"))
    metric = Metric(**record["settings"]["metric"])
    dialogues = read_dialogues(results / "data" / "dev.csv")
    fnames, groups, clusters = zip(*((d.fname, d.group, d.alike) for d in dialogues), strict=True)
    scores = read_levels(results / "floors", fnames, metric.scores)
    for row in context_rows(scores, groups, metric, clusters):
        if row["group"] == "all":
            floor = "floor: " if row["name"].startswith(FLOOR) else ""
            yield {"row": floor + context_name(ENGLISH, row["name"]), **cell(row, row["tokenizer"])}


def runs(results: Path) -> Iterator[dict]:
    """Every run, and every training's mean over its seeds where it has several."""
    made = results / "tables" / "metrics.csv"
    if not made.is_file():
        return
    table = pd.read_csv(made).astype(object)
    for row in table[table["name"] == SCORE].to_dict("records"):
        variant = pd.notna(row["variant"]) and row["variant"] != "default"
        name = run_name(ENGLISH, row, variants=variant)
        if pd.notna(row["seed"]):
            name += f", seed {row['seed']:.0f}"
        elif row["condition"].startswith("fine_tuned"):
            name += ", all seeds"
        score = row["metric"] if pd.isna(row["tokenizer"]) else row["tokenizer"]
        yield {"row": name, **cell(row, score)}


def cell(row: Mapping, score: str) -> dict:
    """A row of a table as a score's cell: mean and interval."""
    text = f"{row['mean']:.1f}"
    if pd.notna(row["ci_low"]):
        text += f" [{row['ci_low']:.1f}, {row['ci_high']:.1f}]"
    return {"metric": score_name(ENGLISH, score), "n": row["n"], "cell": text}


if __name__ == "__main__":
    main()
