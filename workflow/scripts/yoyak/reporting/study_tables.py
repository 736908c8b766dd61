"""The study's tables for the report: each number carries the CSV cell that it comes from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from yoyak.reporting import results as result_files
from yoyak.reporting import tables
from yoyak.reporting.results import Row
from yoyak.reporting.texts import Texts


@dataclass(frozen=True)
class Number:
    """A number as the report shows it.

    source: where it stands, "rouge/3/ci_low": file below the results folder's tables/ (or a path
        from the results folder), row from 0, column.
    value: for sorting; text: for reading; scale: what the CSV's value was multiplied by.
    """

    source: str
    value: float | int
    text: str
    scale: int = 1


Sentence = list[str | Number]  # text and numbers in turn


class StudyTables:
    """The study's tables, read once; each row knows its position."""

    def __init__(self, results: Path) -> None:
        self._results = Path(results)
        self._tables: dict[str, pd.DataFrame] = {}

    def rows(self, name: str, /, **values: object) -> list[Row]:
        """Rows of tables/{name}.csv with these values; "row" is added, counted from 0."""
        if name not in self._tables:
            table = result_files.read_table(self._results, name)
            self._tables[name] = table.reset_index(names="row")
        return result_files.records(result_files.where(self._tables[name], **values))

    def cell(self, name: str, row: Row, column: str, signed: bool = False) -> Any:
        """One `Number` of a row; None where the cell is empty."""
        value = row[column]
        if value is None:
            return None
        text = tables.reading_cell(column, value)
        if signed and value >= 0:
            text = "+" + text
        return Number(f"{name}/{row['row']}/{column}", value, text.replace("-", "−"))


def score(source: str, value: float) -> Number:
    """A dialogue's ROUGE (0 to 1 in its file) on the tables' scale, 0 to 100."""
    return Number(source, 100 * value, f"{100 * value:.1f}", scale=100)


def percent(source: str, value: float) -> Number:
    """A share (0 to 1 in its file) in per cent."""
    return Number(source, 100 * value, f"{100 * value:.0f}".replace("-", "−"), scale=100)


def words(texts: Texts, column: str, value: object) -> str:
    """A cell for readers: the name of a condition, tokenizer, comparison or floor, or a word."""
    if value is None:
        return "–"
    if column == "condition":
        return texts(f"conditions.{value}")
    if column in ("tokenizer", "metric"):
        return result_files.score_name(texts, str(value))
    if column == "comparison":
        return result_files.comparison_name(texts, str(value))
    if column in ("name", "floor"):
        return result_files.context_name(texts, str(value))
    return texts.recorded(value)
