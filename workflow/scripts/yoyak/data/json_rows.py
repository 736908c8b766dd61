"""JSON to rows: one object a line (JSON lines), or one document with a list of objects in it."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from yoyak.data.rows import BadRows, DuplicateName, Record, flat, quote
from yoyak.errors import UserError, display

TOO_MUCH = "not JSON that can be read (too deep, or a number too long)"


def read_json(path: Path, text: str, names: dict) -> tuple[list[Record], list[str], BadRows]:
    """Rows of a JSON file; cells of an object inside a row get dotted names.

    Args:
        names: the wanted columns, by which a row is known from an object around the rows.

    Raises UserError where there are no rows, or several lists of them.
    """
    bad = BadRows(path)
    values: Iterable[tuple[int, object]]
    if _is_lines(text.strip()):
        # Not splitlines(): U+2028 and its like may stand inside a JSON string.
        lines = enumerate(re.split(r"\r\n|\n|\r", text), start=1)
        values = (
            (line, value)
            for line, content in lines
            if content.strip()
            for value in _parsed(content, line, bad)
        )
    else:
        values = enumerate(_document_rows(text, names, bad), start=1)
    records = []
    for number, value in values:
        if not isinstance(value, dict):
            bad.add(number, f"a JSON object is needed, found {quote(value)}")
            continue
        try:
            records.append(Record(number, flat(value)))
        except DuplicateName as error:
            bad.add(number, f"duplicate key {quote(str(error))}")
    if not records and not bad.found:
        raise UserError(f"{display(path)}: contains no rows; at least one is needed")
    return records, list(dict.fromkeys(name for row in records for name in row.cells)), bad


def _is_lines(text: str) -> bool:
    """Whether a text is JSON lines (valid or broken) rather than one document."""
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    if len(first) == len(text):
        return False
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        last = text[max(text.rfind("\n"), text.rfind("\r")) + 1 :]
        return first.startswith("{") and last.startswith("{")
    return True


def _parsed(text: str, line: int, bad: BadRows) -> list:
    """The value that stands in a text alone in a list; nothing where it is no JSON, with reason."""
    try:
        return [json.loads(text, object_pairs_hook=_no_key_twice)]
    except DuplicateName as error:
        bad.add(line, f"duplicate key {quote(str(error))}")
    except json.JSONDecodeError as error:
        bad.add(line + error.lineno - 1, f"not JSON ({error.msg} at character {error.colno})")
    except (ValueError, RecursionError):
        bad.add(line, TOO_MUCH)
    return []


def _document_rows(text: str, names: dict, bad: BadRows) -> list:
    """The rows of a document, numbered by row; or the document itself if it is a row."""
    for document in _parsed(text, 1, bad):
        try:
            rows = _rows_inside(document, names, bad.path)
        except DuplicateName as error:
            bad.add(1, f"duplicate key {quote(str(error))}")
            break
        if rows is None:
            return [document]
        bad.unit = "row"
        return rows
    return []


def _rows_inside(document: object, names: dict, path: Path) -> list | None:
    """The list of rows that the document is or contains; None if there is none."""
    if not isinstance(document, dict):
        return document if isinstance(document, list) else None
    cells = flat(document)
    lists = [
        cell
        for cell in cells.values()
        if isinstance(cell, list) and all(isinstance(row, dict) for row in cell[:1])
    ]
    if names["dialogue"] in cells or not lists:
        return None
    fitting = [rows for rows in lists if rows and names["dialogue"] in flat(rows[0])]
    if len(fitting) > 1:
        raise UserError(
            f"{display(path)}: {len(fitting)} lists in it hold rows; save each as a file of its own"
        )
    if not fitting and names["fname"] in cells:
        return None
    return (fitting or lists)[0]


def _no_key_twice(pairs: list[tuple]) -> dict:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        raise DuplicateName(next(name for name in names if names.count(name) > 1))
    return content
