"""Tables of Arrow to rows: Parquet files and folders saved by `datasets`."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from yoyak.data.hub import needed
from yoyak.data.label_names import label_names, name_labels
from yoyak.data.rows import BadRows, DuplicateName, Record, column_name, flat, quote
from yoyak.errors import UserError, disk_fault, display, is_out_of_memory

Rows = tuple[list[Record], list[str], BadRows]
SAVED = ("state.json", "dataset_dict.json")  # by Dataset.save_to_disk and DatasetDict.save_to_disk


def is_saved_dataset(folder: Path) -> bool:
    return any((folder / name).is_file() for name in SAVED)


def saved_files(folder: Path) -> list[Path]:
    """The files of a saved dataset, without what `datasets` caches beside them."""
    found = [*folder.glob("*.json"), *folder.glob("*.arrow")]
    return sorted(file for file in found if not file.name.startswith("cache-"))


def read_parquet(path: Path) -> Rows:
    """Rows of a Parquet file; UserError if it is damaged, or if pyarrow is missing."""
    with needed("pyarrow", path):
        from pyarrow import parquet
    with _readable(path), parquet.ParquetFile(path) as file:
        return _rows(path, file.read())


def read_saved(path: Path) -> Rows:
    """Rows of a folder that Dataset.save_to_disk wrote.

    Raises UserError: it has several splits, is damaged or something else, or datasets is missing.
    """
    if (path / "dataset_dict.json").is_file():
        splits = ", ".join(sorted(part.name for part in path.iterdir() if part.is_dir()))
        raise UserError(f"{display(path)}: holds several splits; name one of its folders: {splits}")
    if not is_saved_dataset(path):
        raise UserError(
            f"{display(path)}: is a folder without .json files and none that `datasets` saved (no "
            "state.json); name a .csv, .jsonl or .parquet file, or a folder from "
            "Dataset.save_to_disk"
        )
    with needed("datasets", path):
        import datasets
    with _readable(path):
        return _rows(path, datasets.load_from_disk(str(path)).with_format("arrow")[:])


def _rows(path: Path, table: Any) -> Rows:
    """Rows of a pyarrow.Table."""
    names = [column_name(name) for name in table.column_names]
    try:
        if len(set(names)) < len(names):
            raise DuplicateName(next(name for name in names if names.count(name) > 1))
        rows = enumerate(table.to_pylist(), start=1)
        records = [Record(number, flat(row)) for number, row in rows]
    except DuplicateName as error:
        raise UserError(f"{display(path)}: duplicate column {quote(str(error))}") from None
    written = (table.schema.metadata or {}).get(b"huggingface", b"{}")
    labels = label_names(json.loads(written).get("info", {}).get("features") or {})
    for record in records:
        name_labels(record.cells, labels)
    columns = dict.fromkeys(name for record in records for name in record.cells)
    return records, list(columns or names), BadRows(path, "row")


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Arrow's errors, which are of many kinds, as one line: the data are damaged."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error) or disk_fault(error):
            raise
        raise UserError(
            f"{display(path)}: cannot be read ({quote(str(error), 120)}); save it again"
        ) from None
