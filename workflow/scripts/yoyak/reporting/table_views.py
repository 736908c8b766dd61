"""The report's tables: their columns and headings."""

from collections.abc import Sequence
from dataclasses import dataclass

from yoyak.config.study import Study
from yoyak.reporting import tables
from yoyak.reporting.study_tables import Number, StudyTables, words
from yoyak.reporting.texts import Texts, texts_of

FILTERS = (
    *("metric", "tokenizer", "name", "model", "variant", "format", "condition", "group"),
    *("comparison", "step"),
)
SIGNED = ("difference", "human_difference")


@dataclass(frozen=True)
class Column:
    """A column of the report. `text` ones are left-aligned; `filter` ones get a choice box."""

    key: str
    heading: str
    text: bool
    filter: bool


@dataclass(frozen=True)
class View:
    """A table of the report; a cell is a text or a Number, None where the CSV is empty."""

    name: str
    title: str
    note: str
    columns: list[Column]
    rows: list[list[str | Number | None]]


def view(
    study_tables: StudyTables,
    study: Study,
    name: str,
    note: str = "",
    leave_out: Sequence[str] = (),
    **values: object,
) -> View:
    """All of tables/{name}.csv, or its rows with these values, without columns that say nothing."""
    texts = texts_of(study)
    rows = study_tables.rows(name, **values)
    keys = [key for key in tables.COLUMNS[name] if key not in (*leave_out, *values, *tables.UNREAD)]
    alone = {"seed": len(study.seeds) == 1, "variant": len(study.variants) == 1}
    keys = [key for key in keys if not alone.get(key)]
    filters = [key for key in FILTERS if len({row.get(key) for row in rows}) > 1]
    return View(
        name=name,
        title=texts(f"titles.{name}"),
        note=note,
        columns=[
            Column(
                key,
                texts(f"headings.{key}"),
                key in tables.TEXT,
                key in filters and len(rows) > 4,
            )
            for key in keys
        ],
        rows=[[_cell(texts, study_tables, name, row, key) for key in keys] for row in rows],
    )


def _cell(
    texts: Texts, study_tables: StudyTables, name: str, row: dict, key: str
) -> str | Number | None:
    if row[key] is None:
        return None
    if key in tables.TEXT:
        return words(texts, key, row[key])
    return study_tables.cell(name, row, key, signed=key in SIGNED)
