"""Raw files to rows: CSV, JSON, or a folder saved by the `datasets` package.

Nothing is guessed or skipped. A file that cannot be read completely raises a one-line error with
the file, the line and the cure.
"""

import csv
import io
import re
import sys
from pathlib import Path

from yoyak.data.json_rows import read_json
from yoyak.data.rows import (
    OPTIONAL_COLUMNS,
    BadRows,
    DuplicateName,
    Record,
    column_name,
    flat,
    quote,
)
from yoyak.errors import UserError, display

CSV_FILES = (".csv", ".tsv")
JSON_FILES = (".json", ".jsonl", ".ndjson")
SAVED_BY_DATASETS = ("state.json", "dataset_dict.json")
SEPARATORS = ",;\t|"
LONGEST_HEADER = 100_000  # characters


def files_of(path: Path) -> list[Path]:
    """A split's files: those of a folder of JSON files by name, else the one file or folder."""
    if not path.is_dir() or any((path / name).is_file() for name in SAVED_BY_DATASETS):
        return [path]
    files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in JSON_FILES]
    return files or [path]


def read_records(path: Path, names: dict) -> tuple[list[Record], list[str], BadRows]:
    """Read every row of a raw file.

    Args:
        names: the wanted columns, from `wanted_columns`: by them a CSV's separator is found, and
            the rows of a JSON document.

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
        raise UserError(f"{shown}: is not a regular file; save it as a .csv or .jsonl file")
    kind = path.suffix.lower()
    if kind in CSV_FILES:
        return _read_csv(path, _read_text(path), names)
    if kind in JSON_FILES:
        return read_json(path, _read_text(path), names)
    raise UserError(
        f"{shown}: files that end in '{kind}' are not read; save it as .csv (UTF-8), as .jsonl "
        "(one JSON object a line), as .json, or as a `datasets` folder"
    )


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
    return text.lstrip("\ufeff")


def _encoding_hint(raw: bytes) -> str:
    for codec in ("cp949", "shift_jis"):
        try:
            decoded = raw.decode(codec)
        except UnicodeDecodeError:
            continue
        if codec == "shift_jis" or re.search("[가-힣]", decoded):
            return f"; it reads as {codec}: iconv -f {codec} -t utf-8 FILE > NEW"
    return "; save it as UTF-8"


def _read_csv(path: Path, text: str, names: dict) -> tuple[list[Record], list[str], BadRows]:
    bad = BadRows(path)
    records, header, start = [], None, 1
    text = re.sub(r'\A"?sep=.?"?(?=\r?\n)', "", text)  # a line for Excel
    separator = _separator(text, names)
    limit = csv.field_size_limit(sys.maxsize)  # the default refuses cells above 128 KB
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
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


def _separator(text: str, names: dict) -> str:
    """The separator that gives the header most of the wanted columns, else most columns."""
    wanted = {names["fname"], names["dialogue"], *(names[key] for key in OPTIONAL_COLUMNS)}
    wanted |= set(names["summaries"] or ["summary"])

    def columns(separator: str) -> tuple[int, int]:
        lines = io.StringIO(text[:LONGEST_HEADER], newline="")
        try:
            header = next(filter(None, csv.reader(lines, delimiter=separator, strict=True)), [])
        except csv.Error:
            return 0, 0
        return len(wanted & set(map(column_name, header))), len(header)

    return max(SEPARATORS, key=columns)  # of equals the comma


def _checked_header(path: Path, cells: list[str]) -> list[str]:
    names = [column_name(name) for name in cells]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise UserError(f"{display(path)}: duplicate column {quote(twice[0])} in the header")
    return names


def _csv_fault(error: csv.Error) -> str:
    message = str(error)
    if "unexpected end of data" in message:
        return 'a quoted cell of the row that starts here never ends; close it with "'
    if "expected after" in message:
        return 'text after a closing quote in the row that starts here; double inner quotes ("")'
    return f"broken CSV ({message})"


def _read_datasets_folder(path: Path) -> tuple[list[Record], list[str], BadRows]:
    shown = display(path)
    if (path / "dataset_dict.json").is_file():
        splits = ", ".join(sorted(part.name for part in path.iterdir() if part.is_dir()))
        raise UserError(f"{shown}: holds several splits; name one of its folders: {splits}")
    if not (path / "state.json").is_file():
        raise UserError(
            f"{shown}: is a folder without .json files and none that `datasets` saved (no "
            "state.json); name a .csv or .jsonl file, or a folder from Dataset.save_to_disk"
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
    try:
        records = [Record(number, flat(row)) for number, row in enumerate(rows, start=1)]
    except DuplicateName as error:
        raise UserError(f"{shown}: duplicate column {quote(str(error))}") from None
    columns = dict.fromkeys(name for record in records for name in record.cells)
    return records, list(columns or map(column_name, rows.column_names)), BadRows(path, "row")
