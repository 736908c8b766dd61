"""Rows of a raw file as cells by column name, and a collector for bad rows."""

import functools
import reprlib
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from yoyak.config.hub_dataset import HubDataset, hub_dataset
from yoyak.errors import UserError, display

RawData = Path | HubDataset
BAD_ROWS_IN_WORDS = 5  # bad rows told in words; the others by their numbers
LONGEST_LINE_LIST = 2000  # characters
OPTIONAL_COLUMNS = ("topic", "group", "cluster")
_USUAL_COLUMNS = {name: name for name in ("fname", "dialogue", *OPTIONAL_COLUMNS)}
_SHORT = reprlib.Repr()  # deep or long values too
_SHORT.maxstring = 60


@dataclass(frozen=True)
class Record:
    """One row: its number (from 1; in a text the line on which it starts), cells by column name."""

    number: int
    cells: dict


class BadRows:
    """Collects the bad rows of a file, so that one error names them all.

    unit: what row numbers count: "line", or "row" if the file has no lines.
    """

    def __init__(self, path: Path, unit: str = "line") -> None:
        self.path = path
        self.unit = unit
        self.found: list[tuple[int, str]] = []

    def add(self, number: int, reason: str) -> None:
        self.found.append((number, reason))

    def raise_if_any(self) -> None:
        """Raise UserError naming the first few rows in words and every row by its number."""
        if not self.found:
            return
        self.found.sort(key=lambda item: item[0])
        numbers = sorted({number for number, _ in self.found})
        first = self.found[:BAD_ROWS_IN_WORDS]
        told = "; ".join(f"{self.unit} {number}: {why}" for number, why in first)
        if len(self.found) > BAD_ROWS_IN_WORDS:
            told += f"; … all bad {self.unit}s: {_ranges(numbers)}"
        count = "1 bad row" if len(numbers) == 1 else f"{len(numbers):,} bad rows"
        raise UserError(f"{display(self.path)}: {count}: {told}. Correct or remove them")


def named_source(text: str) -> RawData:
    """The dataset on the Hub that a text names, else the path; UserError for a wrong `hf:…`."""
    try:
        return hub_dataset(text) or Path(text)
    except ValueError as form:
        raise UserError(f"{quote(text, 200)}: must be {form}") from None


def shown(source: RawData) -> str:
    """Raw data as one would type it in a study."""
    return display(source) if isinstance(source, Path) else str(source)


class DuplicateName(Exception):
    """A duplicate key or column; the text is its name."""


@functools.lru_cache(maxsize=1000)
def column_name(name: str) -> str:
    """A column's name as names are compared: composed Hangul (NFC), no blanks or BOM around it."""
    return unicodedata.normalize("NFC", name).strip(" \t\r\n\v\f\u00a0\u3000\u200b\ufeff")


def wanted_columns(columns: dict | None) -> dict:
    """A study's `data.columns` as names are compared, the usual names where it is silent.

    "summaries" stays None where it is not given: every column summary, summary2, … of the file.
    """
    given = {**_USUAL_COLUMNS, "summaries": None, **(columns or {})}
    summaries = given.pop("summaries")
    names = {key: name and column_name(name) for key, name in given.items()}
    return {**names, "summaries": summaries and [column_name(name) for name in summaries]}


def flat(row: dict) -> dict:
    """A row's cells by column name; those of an object inside it by dotted names (`body.summary`).

    Raises DuplicateName where two cells have one name.
    """
    cells: dict = {}
    rest = [(column_name(key), value) for key, value in reversed(row.items())]
    while rest:
        name, value = rest.pop()
        if isinstance(value, dict) and value:
            inside = [(f"{name}.{column_name(key)}", cell) for key, cell in value.items()]
            rest += reversed(inside)
        elif name in cells:
            raise DuplicateName(name)
        else:
            cells[name] = value
    return cells


def quote(value: object, length: int = 40) -> str:
    """A value as it may stand in a one-line message: escaped, cut to `length` characters."""
    if isinstance(value, str):
        text = "'" + _escaped(value[: length + 1]) + "'"
    else:
        text = _SHORT.repr(value)
    return text if len(text) <= length + 2 else text[:length] + "…'"


def _ranges(numbers: list[int]) -> str:
    parts, index = [], 0
    while index < len(numbers):
        last = index
        while last + 1 < len(numbers) and numbers[last + 1] == numbers[last] + 1:
            last += 1
        first, end = numbers[index], numbers[last]
        parts.append(str(first) if last == index else f"{first}-{end}")
        index = last + 1
    text = ", ".join(parts)
    if len(text) <= LONGEST_LINE_LIST:
        return text
    return text[:LONGEST_LINE_LIST].rsplit(", ", 1)[0] + ", …"


def _escaped(text: str) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "replace").decode()
        for char in text
    )
