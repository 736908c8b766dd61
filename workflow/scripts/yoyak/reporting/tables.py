"""The study's tables: their columns, how their numbers are written, and their Markdown.

A table is a list of dicts; None is an empty cell. CSV cells hold numbers with a fixed number of
decimals and names, nothing else, so that the same results give the same bytes. The Markdown beside
each CSV rounds further, for reading, and carries a note that says what the numbers are.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from yoyak.errors import UserError, display

RUN = ("model", "format", "condition", "seed")
ROUGE = ("n", "rouge1", "rouge2", "rougeL", "rouge_mean", "rouge_sum", "ci_low", "ci_high")
COST = ("steps", "supervised_tokens")
DIFFERENCE = ("n", "difference", "ci_low", "ci_high", "p_value", "p_holm", *COST, "method")
FIGURES = (
    "length_ratio",
    "empty_rate",
    "length_limit_rate",
    "repeated_ngram_rate",
    "hangul_share",
    "tag_precision",
    "tag_recall",
    "novel_bigram_rate",
    "unchanged_rate",
    "loss_fall",
)

COLUMNS: dict[str, tuple[str, ...]] = {
    "rouge": (*RUN, "tokenizer", *ROUGE, *COST),
    "groups": (*RUN, "tokenizer", "group", *ROUGE, *COST),
    "differences": ("comparison", *RUN, "tokenizer", *DIFFERENCE),
    "group_differences": ("comparison", *RUN, "tokenizer", "group", *DIFFERENCE),
    "context": ("name", "tokenizer", "group", *ROUGE),
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
        *("model", "format", "condition", "tokenizer", "seeds", "n", "rouge_mean", "sd"),
        *("ci_low", "ci_high", "difference", "difference_ci_low", "difference_ci_high"),
    ),
}
TITLES = {
    "rouge": "ROUGE of every run",
    "groups": "ROUGE by group of dialogues",
    "differences": "Differences between runs",
    "group_differences": "Differences between runs by group of dialogues",
    "context": "Floors and ceiling",
    "diagnostics": "Diagnostics",
    "resources": "Time and memory",
    "quoted": "Quoted figures, not comparable",
    "seeds": "Seeds taken together",
}

TEXT = {*RUN[:3], "tokenizer", "group", "comparison", "method", "name", "step", "device"}
TEXT |= {"source", "note", "engine"}
WHOLE = {"seed", "n", *COST, "prompts_shortened", "seeds", "skipped_steps"}
DECIMALS = {"p_value": 6, "p_holm": 6, "wall_seconds": 2, "tokens_per_second": 1}
DECIMALS |= {"sum_as_quoted": 2, "peak_memory_gb": 3, "expected_gpu_memory_gb": 1}
SCORE_DECIMALS = 4
READING_DECIMALS = dict.fromkeys(("p_value", "p_holm"), 5) | dict.fromkeys(FIGURES, 3)


def write_table(directory: Path, name: str, rows: Sequence[Mapping], note: str) -> None:
    """Write {name}.csv and {name}.md; a key that the table has no column for is left out."""
    columns = COLUMNS[name]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([csv_cell(column, row.get(column)) for column in columns] for row in rows)
    (directory / f"{name}.csv").write_text(text.getvalue(), encoding="utf-8")
    (directory / f"{name}.md").write_text(to_markdown(name, rows, note), encoding="utf-8")


def read_table(path: Path) -> list[dict]:
    """A written table as dicts: text, int or float by its column, None for an empty cell.

    Raises UserError if the file is missing or has other columns.
    """
    name = path.stem
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            rows = list(reader)
    except OSError as error:
        raise UserError(
            f"{display(path)}: cannot be read ({error.strerror}); run compare.py first"
        ) from None
    except (ValueError, csv.Error) as error:
        raise UserError(f"{display(path)}: is no CSV ({error}); run compare.py again") from None
    if tuple(header) != COLUMNS[name]:
        raise UserError(f"{display(path)}: has other columns than expected; run compare.py again")
    parsed = []
    for number, row in enumerate(rows, start=1):
        try:
            cells = zip(header, row, strict=True)
            parsed.append({column: _parse(column, cell) for column, cell in cells})
        except ValueError:
            raise UserError(
                f"{display(path)}: row {number} is cut short or was altered; run compare.py again"
            ) from None
    return parsed


def to_markdown(name: str, rows: Sequence[Mapping], note: str) -> str:
    """A table to read, numbers to the right, with its title above and its note below."""
    columns = [column for column in COLUMNS[name] if column != "method"]
    lines = [f"# {TITLES[name]}", ""]
    lines.append("| " + " | ".join(columns) + " |")
    lines.append("|" + "|".join("---" if column in TEXT else "---:" for column in columns) + "|")
    for row in rows:
        cells = (reading_cell(column, row.get(column)) for column in columns)
        lines.append("| " + " | ".join(cells) + " |")
    if not rows:
        lines += ["", "No rows: the study has nothing for this table."]
    return "\n".join([*lines, "", note, ""])


def csv_cell(column: str, value: object) -> str:
    """A value as it stands in the CSV: fixed decimals, or text that no spreadsheet calculates."""
    if value is None:
        return ""
    if column in TEXT:
        text = " ".join(str(value).split())
        return "'" + text if text[:1] in ("=", "+", "-", "@") else text
    if column in WHOLE:
        return str(int(value))
    return _fixed(float(value), decimals(column))


def reading_cell(column: str, value: object) -> str:
    """A value for a reader: the CSV's, rounded to what the eye needs, safe inside Markdown."""
    if value is None:
        return "–"
    if column in TEXT:
        text = " ".join(str(value).split())
        for character, escaped in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|")):
            text = text.replace(character, escaped)
        return text
    if column in WHOLE:
        return str(int(value)) if column == "seed" else f"{int(value):,}"
    return _fixed(float(value), READING_DECIMALS.get(column, min(2, decimals(column))))


def decimals(column: str) -> int:
    """Decimals of a column of numbers in the CSV."""
    return DECIMALS.get(column, SCORE_DECIMALS)


def _fixed(value: float, places: int) -> str:
    return f"{round(value, places) + 0.0:.{places}f}"  # + 0.0: no -0.00


def _parse(column: str, cell: str) -> str | int | float | None:
    if cell == "":
        return None
    if column in TEXT:
        return cell
    number = int(cell) if column in WHOLE else float(cell)
    if not math.isfinite(number):
        raise ValueError(cell)
    return number
