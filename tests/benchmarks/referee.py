"""The referee's table: every floor, falsehood, human agreement and run under every metric.

    PYTHONPATH=workflow/scripts python tests/benchmarks/referee.py results/STUDY

Prints Markdown for docs/validity.md from a study's results folder: means × 100 with their 95 %
intervals, over all dialogues. Where nothing has run yet but the rule `floors`, its rows alone,
without intervals.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from yoyak.reporting.results import CONDITION_NAMES, FLOOR, TOKENIZER_NAMES, context_name


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
    made = results / "tables" / "context.csv"
    if made.is_file():
        table = pd.read_csv(made, keep_default_na=False, na_values={"ci_low": [""], "ci_high": [""]})
        table = table[table["group"] == "all"]
    else:
        scores = pd.read_csv(results / "floors" / "dialogues.csv")
        found = scores.groupby(["name", "tokenizer"], sort=False)["rouge_mean"]
        table = (100 * found.mean()).to_frame().assign(n=found.count()).reset_index()
    for _, row in table.iterrows():
        name = ("floor: " if row["name"].startswith(FLOOR) else "") + context_name(row["name"])
        yield {"row": name, **cell(row)}


def runs(results: Path) -> Iterator[dict]:
    """Every run, then every training's mean over its seeds where it has several."""
    for file, ending in (("rouge", ""), ("seeds", ", all seeds")):
        made = results / "tables" / f"{file}.csv"
        if not made.is_file():
            continue
        for _, row in pd.read_csv(made).iterrows():
            name = f"{row['model']} · {row['format']} · {CONDITION_NAMES[row['condition']]}{ending}"
            seed = row.get("seed")
            yield {"row": name if pd.isna(seed) else f"{name}, seed {seed:.0f}", **cell(row)}


def cell(row: pd.Series) -> dict:
    """A row of a table as a metric's cell: mean and interval."""
    text = f"{row['rouge_mean']:.1f}"
    if pd.notna(row.get("ci_low")):
        text += f" [{row['ci_low']:.1f}, {row['ci_high']:.1f}]"
    return {"metric": TOKENIZER_NAMES[row["tokenizer"]], "n": row["n"], "cell": text}


if __name__ == "__main__":
    main()
