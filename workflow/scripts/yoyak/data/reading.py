"""Raw files to rows: CSV, JSON lines, or a folder saved by the `datasets` package.

Nothing is guessed or skipped: a file that cannot be read whole is refused in one line that names
the file, the line and the cure.
"""

import csv
import io
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from yoyak.errors import UserError, display

BAD_ROWS_IN_WORDS = 5  # bad rows told in words; the others by their line numbers
LONGEST_LINE_LIST = 2000  # characters


@dataclass(frozen=True)
class Record:
    """One row of a raw file: the line on which it starts (from 1) and its cells by column name."""

    line: int
    cells: dict


class BadRows:
    """Collects what is wrong with a file's rows, so that one error names them all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[tuple[int, str]] = []

    def add(self, line: int, reason: str) -> None:
        self.found.append((line, reason))

    def raise_if_any(self) -> None:
        """Raise UserError naming the first few rows in words and every row by its line."""
        if not self.found:
            return
        self.found.sort(key=lambda item: item[0])
        lines = sorted({line for line, _ in self.found})
        told = "; ".join(f"line {line}: {why}" for line, why in self.found[:BAD_ROWS_IN_WORDS])
        if len(self.found) > BAD_ROWS_IN_WORDS:
            told += f"; … all bad lines: {_line_ranges(lines)}"
        count = "1 bad row" if len(lines) == 1 else f"{len(lines):,} bad rows"
        raise UserError(f"{display(self.path)}: {count}: {told}. Correct or remove them")


def read_records(path: Path) -> tuple[list[Record], list[str], BadRows]:
    """Read every row of a raw file.

    Returns:
        the rows that could be parsed, the column names in the file's order, and the rows that
        could not (the caller adds its own findings and raises).

    Raises:
        UserError: no such file, unknown kind of file, not UTF-8, empty, broken quoting or header.
    """
    path = Path(path)
    shown = display(path)
    if path.is_dir():
        return _read_datasets_folder(path)
    if not path.exists():
        raise UserError(f"{shown}: no such file; put it there, or correct the path")
    if not path.is_file():  # a pipe or a device would be read for ever
        raise UserError(f"{shown}: is no regular file; save it as a .csv or .jsonl file")
    kind = path.suffix.lower()
    if kind == ".csv":
        return _read_csv(path, _read_text(path))
    if kind in (".jsonl", ".ndjson", ".json"):
        return _read_json_lines(path, _read_text(path))
    raise UserError(
        f"{shown}: files that end in '{kind}' are not read; save it as .csv (comma-separated, "
        "UTF-8), as .jsonl (one JSON object a line), or as a `datasets` folder"
    )


def quote(value: object, length: int = 40) -> str:
    """A value as it may stand in a one-line message: escaped, cut to `length` characters."""
    text = repr(value) if not isinstance(value, str) else "'" + _escaped(value[: length + 1]) + "'"
    return text if len(text) <= length + 2 else text[:length] + "…'"


def _read_text(path: Path) -> str:
    shown = display(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{shown}: cannot be read ({error.strerror})") from None
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{shown}: is UTF-16; save it as UTF-8 (iconv -f utf-16 -t utf-8)")
    if raw[:4000].count(0) > len(raw[:4000]) // 8:
        raise UserError(f"{shown}: full of NUL bytes: binary or UTF-16; save it as UTF-8 text")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{shown}: not UTF-8 at byte {error.start} (line {line}, found "
            f"0x{raw[error.start]:02x}){_encoding_hint(raw)}"
        ) from None
    if not text.strip("\ufeff \t\r\n"):
        raise UserError(f"{shown}: is empty; a header line and at least one row are needed")
    return text.removeprefix("\ufeff")


def _encoding_hint(raw: bytes) -> str:
    for codec in ("cp949", "shift_jis"):
        try:
            decoded = raw.decode(codec)
        except UnicodeDecodeError:
            continue
        if codec == "shift_jis" or re.search("[가-힣]", decoded):
            return f"; it reads as {codec}: iconv -f {codec} -t utf-8 FILE > NEW"
    return "; save it as UTF-8"


def _read_csv(path: Path, text: str) -> tuple[list[Record], list[str], BadRows]:
    bad = BadRows(path)
    records, header, start = [], None, 1
    limit = csv.field_size_limit(sys.maxsize)  # the default refuses cells above 128 KB
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        for cells in reader:
            line, start = start, reader.line_num + 1
            if not cells:
                continue
            if header is None:
                header = _checked_header(path, cells)
            elif len(cells) != len(header):
                bad.add(line, f"{len(cells)} cells where the header has {len(header)}")
            else:
                records.append(Record(line, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise UserError(f"{display(path)}: line {start}: {_csv_fault(error)}") from None
    finally:
        csv.field_size_limit(limit)
    return records, header or [], bad


def _checked_header(path: Path, cells: list[str]) -> list[str]:
    names = [name.strip().strip("\ufeff") for name in cells]
    shown = display(path)
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise UserError(f"{shown}: column {quote(twice[0])} stands twice in the header")
    for separator, word in ((";", "';'"), ("\t", "tabs"), ("|", "'|'")):
        if len(names) == 1 and separator in names[0]:
            raise UserError(f"{shown}: cells are separated by {word}; save it with commas")
    return names


def _csv_fault(error: csv.Error) -> str:
    message = str(error)
    if "unexpected end of data" in message:
        return 'a quoted cell of the row that starts here never ends; close it with "'
    if "expected after" in message:
        return 'text after a closing quote in the row that starts here; double inner quotes ("")'
    return f"broken CSV ({message})"


def _read_json_lines(path: Path, text: str) -> tuple[list[Record], list[str], BadRows]:
    shown = display(path)
    if text.lstrip()[:1] == "[":
        raise UserError(f"{shown}: is one JSON array; save it as JSON lines: one object a line")
    bad = BadRows(path)
    records, columns = [], {}
    # Not splitlines(): U+2028 and its like may stand inside a JSON string.
    for line, content in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if not content.strip():
            continue
        try:
            cells = json.loads(content, object_pairs_hook=_object_without_duplicates)
        except _DuplicateKey as error:
            bad.add(line, f"key {quote(str(error))} stands twice")
        except json.JSONDecodeError as error:
            bad.add(line, f"not JSON ({error.msg} at character {error.pos + 1})")
        except (ValueError, RecursionError):
            bad.add(line, "not JSON that can be read (too deep, or a number too long)")
        else:
            if isinstance(cells, dict):
                columns.update(dict.fromkeys(cells))
                records.append(Record(line, cells))
            else:
                bad.add(line, f"a JSON object is needed, found {quote(cells)}")
    return records, list(columns), bad


class _DuplicateKey(Exception):
    pass


def _object_without_duplicates(pairs: list[tuple]) -> dict:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        raise _DuplicateKey(next(name for name in names if names.count(name) > 1))
    return content


def _read_datasets_folder(path: Path) -> tuple[list[Record], list[str], BadRows]:
    shown = display(path)
    if (path / "dataset_dict.json").is_file():
        splits = ", ".join(sorted(part.name for part in path.iterdir() if part.is_dir()))
        raise UserError(f"{shown}: holds several splits; name one of its folders: {splits}")
    if not (path / "state.json").is_file():
        raise UserError(
            f"{shown}: is a folder but none that `datasets` saved (no state.json); "
            "name a .csv or .jsonl file, or a folder from Dataset.save_to_disk"
        )
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"{shown}: reading a folder saved by `datasets` needs that package: "
            "pip install datasets, or export the data as CSV"
        ) from None
    try:
        rows = datasets.load_from_disk(str(path))
    except Exception as error:  # Arrow raises many kinds; each means that the folder is broken
        raise UserError(f"{shown}: `datasets` cannot read it: {quote(str(error), 120)}") from None
    records = [Record(line, dict(row)) for line, row in enumerate(rows, start=1)]
    return records, list(rows.column_names), BadRows(path)


def _line_ranges(lines: list[int]) -> str:
    parts, index = [], 0
    while index < len(lines):
        last = index
        while last + 1 < len(lines) and lines[last + 1] == lines[last] + 1:
            last += 1
        parts.append(str(lines[index]) if last == index else f"{lines[index]}-{lines[last]}")
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
