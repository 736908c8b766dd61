"""The study's tables: columns, number formats, CSV and Markdown.

None and NaN are empty cells. CSV cells hold numbers with a fixed number of
decimals and names, nothing else, so that the same results give the same bytes. The Markdown beside
each CSV rounds further, for reading, and carries a note that says what the numbers are.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from yoyak.errors import UserError, display
from yoyak.reporting.texts import Texts

RUN = ("model", "variant", "format", "condition", "seed")
CELL = RUN[:-1]
ROUGE = ("n", "rouge1", "rouge2", "rougeL", "rouge_mean", "rouge_sum", "ci_low", "ci_high")
COST = ("steps", "supervised_tokens")
DIFFERENCE = ("seeds", "n", "clusters", "difference", "sd", "ci_low", "ci_high", "method")
FIGURES = (
    "unfounded_number_rate",
    "own_words_share",
    "unknown_words_rate",
    "repeated_ngram_rate",
    "novel_bigram_rate",
    "length_ratio",
    "empty_rate",
    "length_limit_rate",
    "hangul_share",
    "unchanged_rate",
    "loss_fall",
)

COLUMNS: dict[str, tuple[str, ...]] = {
    "rouge": (*RUN, "tokenizer", *ROUGE, *COST),
    "groups": (*RUN, "tokenizer", "group", *ROUGE, *COST),
    "questions": (
        *("comparison", "trainings", "seed", "seeds", "n", "clusters", "difference"),
        *("ci_low", "ci_high", "p_value", "verdict", "detectable", "sd_dialogues", "sd", "method"),
    ),
    "methods": (*CELL, "rouge_mean", *DIFFERENCE[:-1], "detectable", "method"),
    "differences": ("comparison", *CELL, "tokenizer", *DIFFERENCE),
    "group_differences": ("comparison", *CELL, "tokenizer", "group", *DIFFERENCE),
    "context": ("name", "tokenizer", "group", *ROUGE),
    "levels": (
        *(*RUN, "tokenizer", "group", "n", "floor", "difference", "ci_low", "ci_high", "share"),
        *("human_difference", "human_ci_low", "human_ci_high"),
    ),
    "metrics": (
        *("metric", "tokenizer", "name", *RUN, "floor", "n", "mean", "ci_low", "ci_high"),
        *("p_value", "test", "signature"),
    ),
    "diagnostics": (*RUN, "n", *FIGURES, "prompts_shortened"),
    "resources": (
        *RUN,
        "step",
        "wall_seconds",
        "tokens_per_second",
        "peak_memory_gb",
        "expected_gpu_memory_gb",
        "device",
        "engine",
        "skipped_steps",
    ),
    "quoted": ("source", "model", "rouge1", "rouge2", "rougeL", "sum_as_quoted", "note"),
    "seeds": (
        *(*CELL, "tokenizer", "seeds", "n", "clusters"),
        *("rouge1", "rouge2", "rougeL", "rouge_mean", "sd"),
        *("ci_low", "ci_high", "difference", "difference_ci_low", "difference_ci_high"),
    ),
}
TEXT = {*CELL, "tokenizer", "group", "comparison", "verdict", "method", "name", "step", "device"}
TEXT |= {"floor", "metric", "test", "signature"}
UNREAD = ("method", "signature")  # in the CSV alone
TEXT |= {"source", "note", "engine"}
WHOLE = {"seed", "n", *COST, "prompts_shortened", "seeds", "skipped_steps", "clusters", "trainings"}
DECIMALS = {"p_value": 6, "wall_seconds": 2, "tokens_per_second": 1}
DECIMALS |= {"sum_as_quoted": 2, "peak_memory_gb": 3, "expected_gpu_memory_gb": 1}
SCORE_DECIMALS = 4
SMALLEST_P = 0.00001  # of random sign flips; a smaller p is shown as this bound
READING_DECIMALS = {"p_value": 5} | dict.fromkeys(FIGURES, 3)


def write_table(
    directory: Path, name: str, rows: Sequence[Mapping] | pd.DataFrame, note: str
) -> None:
    """Write {name}.csv and {name}.md; keys without a column are ignored."""
    text = _written(name, rows, csv_cell).to_csv(index=False, lineterminator="\n")
    (directory / f"{name}.csv").write_text(text, encoding="utf-8")
    (directory / f"{name}.md").write_text(to_markdown(name, rows, note), encoding="utf-8")


def read_table(path: Path) -> pd.DataFrame:
    """A written table: columns of str, Int64 or float64; an empty cell is missing.

    Raises UserError if the file is missing, was altered or has other columns.
    """
    columns, cure = COLUMNS[path.stem], "run compare.py (again)"
    types = {key: "str" if key in TEXT else "Int64" if key in WHOLE else float for key in columns}
    table = read_csv(path, cure, dtype=types)
    if tuple(table) != columns:
        raise UserError(f"{display(path)}: has other columns than expected; {cure}")
    if np.isinf(table.select_dtypes("float")).any(axis=None):
        raise UserError(f"{display(path)}: holds a number that is infinite; {cure}")
    return table


def read_csv(path: Path, cure: str, **options) -> pd.DataFrame:
    """A CSV that a step wrote, rows counted from 0; only an empty cell is missing, "NA" is a name.

    options: what pandas.read_csv takes.
    Raises UserError with the `cure` when the file is missing or damaged.
    """
    try:
        raw = path.read_bytes()
        table = pd.read_csv(io.BytesIO(raw), keep_default_na=False, na_values=[""], **options)
        if not raw.endswith(b"\n") or not isinstance(table.index, pd.RangeIndex):
            raise ValueError("rows are cut short or too long")
    except OSError as error:
        raise UserError(f"{display(path)}: cannot be read ({error.strerror}); {cure}") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{display(path)}: is not a table ({str(error)[:200]}); {cure}") from None
    return table


def to_markdown(name: str, rows: Sequence[Mapping] | pd.DataFrame, note: str) -> str:
    """A Markdown table with right-aligned numbers, its title above and its note below."""
    table = _written(name, rows, reading_cell).drop(columns=[*UNREAD], errors="ignore")
    rule = ["---" if column in TEXT else "---:" for column in table]
    title = Texts("en")(f"titles.{name}")
    lines = [f"# {title}", "", "| " + " | ".join(table) + " |", "|" + "|".join(rule) + "|"]
    lines += ["| " + " | ".join(cells) + " |" for cells in table.itertuples(index=False)]
    if table.empty:
        lines += ["", "No rows: the study has nothing for this table."]
    return "\n".join([*lines, "", note, ""])


def csv_cell(column: str, value: Any) -> str:
    """A value as it stands in the CSV: fixed decimals, or text that no spreadsheet calculates."""
    if pd.isna(value):
        return ""
    if column in TEXT:
        text = " ".join(str(value).split())
        return "'" + text if text[:1] in ("=", "+", "-", "@") else text
    if column in WHOLE:
        return str(int(value))
    return _fixed(float(value), decimals(column))


def reading_cell(column: str, value: Any) -> str:
    """A CSV value for readers: rounded further, and escaped for Markdown."""
    if pd.isna(value):
        return "–"
    if column in TEXT:
        text = " ".join(str(value).split())
        for character, escaped in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|")):
            text = text.replace(character, escaped)
        return text
    if column in WHOLE:
        return str(int(value)) if column == "seed" else f"{int(value):,}"
    if column == "p_value" and value < 1.5 * SMALLEST_P:
        return f"≤ {SMALLEST_P:.5f}"
    return _fixed(float(value), READING_DECIMALS.get(column, min(2, decimals(column))))


def decimals(column: str) -> int:
    """Decimals of a column of numbers in the CSV."""
    return DECIMALS.get(column, SCORE_DECIMALS)


def _fixed(value: float, places: int) -> str:
    return f"{value:z.{places}f}"  # z: no -0.00


def _written(name: str, rows: Sequence[Mapping] | pd.DataFrame, cell: Callable) -> pd.DataFrame:
    """The table as text, each value written by `cell(column, value)`."""
    table = pd.DataFrame(rows, columns=list(COLUMNS[name]), dtype=object)
    return table.apply(lambda column: column.map(lambda value: cell(column.name, value)))
