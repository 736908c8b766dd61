"""Cells of a raw row as clean texts; ValueError says what is wrong with one."""

import json
import math
import re
from collections import Counter

from yoyak.data.cleaning import clean_text
from yoyak.data.rows import quote

LIST_AS_TEXT = re.compile(r"""\s*\[\s*(?:["'].*["']\s*)?\]\s*\Z""", re.DOTALL)
LONGEST_NAME = 200  # characters of an fname: it becomes a key of submissions and reports


def text_cell(value: object, what: str, counts: Counter | None) -> str:
    """A cell as cleaned text; a number becomes its digits: 2021 and 2021.0 both give "2021"."""
    if value is None:
        return ""
    if isinstance(value, float) and math.isfinite(value):
        value = int(value) if value.is_integer() else repr(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"{what} must be text, found {quote(value)}")
    if "\0" in value:
        raise ValueError(f"NUL character in {what}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"half a surrogate pair in {what}: broken escape") from None
    return clean_text(value, counts)


def name_cell(value: object) -> str:
    """The name of a dialogue."""
    name = text_cell(value, "fname", None)
    if not name:
        raise ValueError("empty fname")
    if "\n" in name or len(name) > LONGEST_NAME:
        raise ValueError(
            f"fname {quote(name)} is not a name: one line of at most {LONGEST_NAME} characters"
        )
    return name


def first_of(cells: dict, columns: list[str]) -> object:
    """The first of these cells; ValueError that says what the row has where it has none of them."""
    for column in columns:
        if column in cells:
            return cells[column]
    raise ValueError(f"no {' or '.join(columns)} (it has: {quote(', '.join(cells), 200)})")


def reference_cells(cells: dict, columns: list[str], counts: Counter | None) -> tuple[str, ...]:
    """The filled references of a row; a list in one column, or its JSON text, is several."""
    values: list = []
    for column in columns:
        value = cells.get(column)
        if isinstance(value, str) and LIST_AS_TEXT.match(value):
            value = parsed_cell(value, "summary is a list of texts")
        values += value if isinstance(value, list) else [value]
    texts = (text_cell(value, "summary", counts) for value in values)
    return tuple(text for text in texts if text)


def parsed_cell(text: str, what: str) -> list:
    """The list that a cell holds as JSON; what: how an error begins. Raises ValueError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(
            f"{what} but no JSON, found {quote(text)}: write the cell with json.dumps"
        ) from None


def label_cell(value: object, what: str, counts: Counter | None) -> str:
    """A topic, group or cluster in one line; of a list of keywords all of them."""
    words = value if isinstance(value, list) else [value]
    texts = [" ".join(text_cell(word, what, counts).split()) for word in words]
    return ", ".join(filter(None, texts))


def is_blank(value: object) -> bool:
    """Whether a cell holds no reference."""
    return value is None or (isinstance(value, str) and not value.strip()) or value == []
