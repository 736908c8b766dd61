"""Raw data to rows: which files they are, and each file by its kind; CSV is read here.

Nothing is skipped, and nothing is guessed in silence. What cannot be read completely raises a
one-line error with the file, the line and the cure.
"""

import csv
import functools
import io
import logging
import re
import sys
from collections import Counter
from pathlib import Path

from yoyak.config.hub_dataset import HubDataset
from yoyak.data.hub import fetch
from yoyak.data.json_rows import read_json
from yoyak.data.rows import OPTIONAL_COLUMNS, BadRows, RawData, Record, column_name, quote
from yoyak.data.table_rows import is_saved_dataset, read_parquet, read_saved, saved_files
from yoyak.errors import UserError, display

CSV_FILES = (".csv", ".tsv")
JSON_FILES = (".json", ".jsonl", ".ndjson")
TABLE_FILES = (*CSV_FILES, *JSON_FILES, ".parquet")
SEPARATORS = ",;\t|"
LONGEST_HEADER = 100_000  # characters
KOREAN = 0.9  # share of usual Korean syllables among the letters of a text in cp949

log = logging.getLogger(__name__)


def parts_of(source: RawData) -> list[Path]:
    """What is read one after the other: the one file or saved dataset, or a folder's JSON files.

    Of a dataset on the Hub its split's files, which are downloaded unless they are here.
    """
    if isinstance(source, HubDataset):
        return list(fetch(source).files.values())
    if not source.is_dir() or is_saved_dataset(source):
        return [source]
    files = [file for file in sorted(source.iterdir()) if file.suffix.lower() in JSON_FILES]
    return [*files] or [source]


def local_files(source: RawData) -> list[Path]:
    """The files here whose bytes are the data; none for a dataset on the Hub."""
    if isinstance(source, HubDataset):
        return []
    if source.is_dir() and is_saved_dataset(source):
        return saved_files(source)
    return [part for part in parts_of(source) if part.is_file()]


def read_records(path: Path, names: dict) -> tuple[list[Record], list[str], BadRows]:
    """Read every row of a raw file, or of a folder that `datasets` saved.

    Args:
        names: the wanted columns, from `wanted_columns`: by them a CSV's separator is found, and
            the rows of a JSON document.

    Returns:
        the rows that could be parsed, the column names in the file's order, and the rows that
        could not (the caller adds its own findings and raises).

    Raises:
        UserError: no such file, unknown kind of file, no text, empty, broken quoting or header,
            or a package that is missing.
    """
    shown, kind = display(path), path.suffix.lower()
    if path.is_dir():
        return read_saved(path)
    if not path.exists():
        raise UserError(f"{shown}: no such file; put it there, or correct the path")
    if not path.is_file():  # a pipe or a device would be read for ever
        raise UserError(f"{shown}: is not a regular file; save it as a .csv or .jsonl file")
    if kind in CSV_FILES:
        return _read_csv(path, _read_text(path), names)
    if kind in JSON_FILES:
        return read_json(path, _read_text(path), names)
    if kind in TABLE_FILES:
        return read_parquet(path)
    raise UserError(
        f"{shown}: files that end in '{kind}' are not read; save it as .csv (UTF-8), as .jsonl "
        "(one JSON object a line), as .json, as .parquet, or as a `datasets` folder"
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
        korean = _in_cp949(raw)
        if korean is None:
            line = raw.count(b"\n", 0, error.start) + 1
            raise UserError(
                f"{shown}: not UTF-8 at byte {error.start} (line {line}, found "
                f"0x{raw[error.start]:02x}), nor Korean in cp949{_encoding_hint(raw)}"
            ) from None
        text = korean
        _note_cp949(shown)
    if not text.strip("\ufeff \t\r\n"):
        raise UserError(f"{shown}: is empty; a header line and at least one row are needed")
    return text.lstrip("\ufeff")


def _in_cp949(raw: bytes) -> str | None:
    """The text in the encoding of Korean Windows and its Excel; None unless it is Korean there.

    Chinese and Japanese bytes may decode, too, but into ideographs and rare syllables.
    """
    try:
        text = raw.decode("cp949")
    except UnicodeDecodeError:
        return None
    letters = Counter(sign for sign in text if sign > "\x7f" and sign.isalpha())
    usual = sum(number for sign, number in letters.items() if _is_usual(sign))
    return text if usual >= KOREAN * letters.total() > 0 else None


def _is_usual(sign: str) -> bool:
    """Whether a letter is one of the 2,350 syllables of KS X 1001: both bytes at least 0xa1."""
    return "가" <= sign <= "힣" and min(sign.encode("cp949")) >= 0xA1


@functools.cache
def _note_cp949(shown: str) -> None:
    """Once per process, however often the file is read."""
    log.warning("%s: is not UTF-8 and is read as cp949, the encoding of Korean Windows", shown)


def _encoding_hint(raw: bytes) -> str:
    try:
        raw.decode("shift_jis")
    except UnicodeDecodeError:
        return "; save it as UTF-8"
    return "; it reads as shift_jis: iconv -f shift_jis -t utf-8 FILE > NEW"


def _read_csv(path: Path, text: str, names: dict) -> tuple[list[Record], list[str], BadRows]:
    bad = BadRows(path)
    records, header, start = [], None, 1
    text = re.sub(r'\A"?sep=.?"?(?=\r?\n)', "", text)  # a line for Excel
    separator = _separator(path, text, names)
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


def _separator(path: Path, text: str, names: dict) -> str:
    """The separator that gives the header most of the wanted columns, else most columns.

    Raises UserError where two of them give equally many of both, and wanted ones among them.
    """
    wanted = {names["fname"], names["dialogue"], *(names[key] for key in OPTIONAL_COLUMNS)}
    wanted |= set(names["summaries"] or ["summary"])

    def columns(separator: str) -> tuple[int, int]:
        lines = io.StringIO(text[:LONGEST_HEADER], newline="")
        try:
            header = next(filter(None, csv.reader(lines, delimiter=separator, strict=True)), [])
        except csv.Error:
            return 0, 0
        return len(wanted & set(map(column_name, header))), len(header)

    found = {separator: columns(separator) for separator in SEPARATORS}
    best = max(found.values())
    equal = [separator for separator in SEPARATORS if found[separator] == best]
    if len(equal) > 1 and min(best) > 0 and best != (1, 1):  # (1, 1): one column, no separator
        raise UserError(
            f"{display(path)}: the columns of its header may be separated by {quote(equal[0])} or "
            f"by {quote(equal[1])}; use one of them and quote names that hold the other"
        )
    return equal[0]  # of equals the comma


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
