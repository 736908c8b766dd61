"""Read result files for plots, report and model cards, and name things for readers."""

from pathlib import Path

import pandas as pd

from yoyak.config.study import TRAINED, Study
from yoyak.errors import UserError
from yoyak.reporting import tables
from yoyak.reporting.texts import Texts

METRIC_NAMES = {"rouge": "ROUGE", "chrf": "chrF", "bertscore": "BERTScore"}
FLOOR, FIRST_TURNS = "floor_", "floor_first_turn_"
HUMAN = "human_agreement"
FALSIFIED, FALSE = "falsified_", "falsified_all"  # references
LEVELS = ("score", "score-floor", HUMAN)  # beside floors and falsified references
CONTENT = {"morphemes": "content_morphemes"}  # what stands beside a primary tokenizer
# A model was hardly trained where its loss fell by less, or so many predictions are as before.
LOSS_FALL, UNCHANGED = 0.02, 0.8

VARIANT = "variant-"  # a comparison of variants; then the one that is subtracted
Row = dict  # a table's row: column → text, number or None


def read_table(results: Path, name: str) -> pd.DataFrame:
    """tables/{name}.csv; UserError when it is missing or has other columns."""
    return tables.read_table(Path(results) / "tables" / f"{name}.csv")


def where(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """The rows whose columns have these values; None is an empty cell."""
    for key, value in values.items():
        table = table[table[key].isna() if value is None else table[key] == value]
    return table


def records(table: pd.DataFrame) -> list[Row]:
    """The rows as dicts, None for an empty cell."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def one(table: pd.DataFrame, **values: object) -> Row:
    """The row with these values.

    Raises UserError unless there is exactly one: the tables do not match the study.
    """
    found = records(where(table, **values))
    if len(found) != 1:
        wanted = ", ".join(f"{key} {value}" for key, value in values.items())
        raise UserError(f"tables: {len(found)} rows for {wanted}, expected 1; run compare.py again")
    return found[0]


def score_row(study: Study, results: Path, tokenizer: str, **run: str | None) -> Row:
    """rouge_mean with its interval of one model, variant, format, condition; over all its seeds."""
    if run["variant"] and len(study.seeds_of(run["variant"])) > 1:
        return one(read_table(results, "seeds"), tokenizer=tokenizer, **run)
    return one(read_table(results, "rouge"), tokenizer=tokenizer, **run)


def read_context(results: Path, tokenizer: str, group: str = "all") -> dict[str, Row]:
    """Floors and human agreement under one tokenizer, by name."""
    rows = where(read_table(results, "context"), tokenizer=tokenizer, group=group)
    return {row["name"]: row for row in records(rows)}


def strongest_floor(context: dict[str, Row]) -> Row | None:
    """The highest of the floors."""
    floors = [row for name, row in context.items() if name.startswith(FLOOR)]
    return max(floors, key=lambda row: row["rouge_mean"], default=None)


def content_tokenizer(study: Study) -> str | None:
    """The tokenizer that counts what is said, beside a primary one that counts style too."""
    name = CONTENT.get(study.settings.metric.primary)
    return name if name in study.settings.metric.tokenizers else None


def undertrained(diagnostics: list[Row]) -> list[Row]:
    """The rows of diagnostics.csv whose training changed the model too little to judge it."""
    return [
        row
        for row in diagnostics
        if row["condition"] in TRAINED
        and (
            (row["loss_fall"] is not None and row["loss_fall"] < LOSS_FALL)
            or (row["unchanged_rate"] is not None and row["unchanged_rate"] >= UNCHANGED)
        )
    ]


def score_name(texts: Texts, name: str) -> str:
    """A score by its name in result files: ROUGE's tokenizer, or another metric."""
    return METRIC_NAMES.get(name) or texts(f"tokenizers.{name}")


def run_name(texts: Texts, row: Row, variants: bool) -> str:
    """Model, variant (where a study has several), format and condition of a row."""
    variant = [row["variant"]] if variants and row["variant"] else []
    parts = [row["model"], *variant, row["format"], texts(f"conditions.{row['condition']}")]
    return " · ".join(parts)


def comparison_name(texts: Texts, name: str) -> str:
    """What is subtracted from what, in words."""
    if name.startswith(VARIANT):
        return texts("comparisons.variant", name=name.removeprefix(VARIANT))
    return texts(f"comparisons.{name}")


def context_name(texts: Texts, name: str) -> str:
    """A floor, human agreement or a difference in words."""
    if name.startswith(FIRST_TURNS):
        return texts("levels.first_turns", n=int(name.removeprefix(FIRST_TURNS)))
    known = name in LEVELS or name.startswith((FLOOR, FALSIFIED))
    return texts(f"levels.{name}") if known else comparison_name(texts, name)


def dialogue_counts(texts: Texts, table: pd.DataFrame) -> str:
    """The n of these rows, "100" or "66 or 34"."""
    return texts("words.or").join(f"{n:,}" for n in table["n"].unique())
