"""Dialogues with their reference summaries: read, mapped to one shape, cleaned, checked, written.

A raw file may be CSV, JSON or a `datasets` folder with columns of any name; everything after it
sees `Dialogue` rows, or the canonical CSV columns
fname, dialogue, summary[, summary2, …], topic, group[, cluster].
"""

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from yoyak.data.cleaning import clean_text
from yoyak.data.reading import read_records
from yoyak.data.rows import OPTIONAL_COLUMNS, BadRows, Record, quote, wanted_columns
from yoyak.errors import UserError, display

SPEAKER_TAG = re.compile(r"^(#[^#\s]{1,40}#)\s*[:：]", re.MULTILINE)
_MAX_NAME = 200  # characters of an fname: it becomes a key of submissions and reports


@dataclass(frozen=True)
class Dialogue:
    """One dialogue: turns separated by newlines, and any number of reference summaries."""

    fname: str
    dialogue: str
    summaries: tuple[str, ...] = ()
    topic: str = ""
    group: str = ""
    cluster: str = ""  # dialogues that are alike: one situation, one source

    @property
    def summary(self) -> str:
        """The first reference, used for training; UserError if there is none."""
        if not self.summaries:
            raise UserError(f"dialogue '{self.fname}' has no summary to train on")
        return self.summaries[0]

    @property
    def alike(self) -> str:
        """Key that similar dialogues share: the cluster, else the topic; "" if unknown."""
        return self.cluster or self.topic

    @property
    def turns(self) -> list[str]:
        return self.dialogue.split("\n")

    @property
    def speakers(self) -> list[str]:
        """Speaker tags such as #Person1#, in order of appearance."""
        return list(dict.fromkeys(SPEAKER_TAG.findall(self.dialogue)))


def read_dialogues(
    path: Path | str,
    columns: dict | None = None,
    labelled: bool = True,
    counts: Counter | None = None,
) -> list[Dialogue]:
    """Read, clean and check one split.

    Args:
        path: .csv, .json, .jsonl or a folder saved by `datasets`.
        columns: names in the file: {"fname", "dialogue", "summaries": [...], "topic", "group",
            "cluster"};
            without it the canonical names, with every column summary, summary2, … a reference.
            In JSON, `body.summary` is the cell `summary` of the object `body`.
        labelled: every row must have a summary. If False, a split in which no row has one is
            fine too (a test split as competitions give it out).
        counts: gains, for each cleaning rule, the number of texts that it changed.

    Raises:
        UserError: the file cannot be read, lacks a column, or has bad rows; one line names them.
    """
    path = Path(path)
    names = wanted_columns(columns)
    records, found, bad = read_records(path, names)
    if not records:
        bad.raise_if_any()
    names = _checked_columns(path, names, found, labelled)
    if not records:
        raise UserError(f"{display(path)}: has a header but no rows")
    any_summary = labelled or any(
        not _is_blank(record.cells.get(column))
        for record in records
        for column in names["summaries"]
    )
    dialogues: list[Dialogue] = []
    first_seen: dict[str, int] = {}
    for record in records:
        dialogue = _parse_record(record, names, any_summary, bad, counts)
        if dialogue is None:
            continue
        if dialogue.fname in first_seen:
            earlier = first_seen[dialogue.fname]
            bad.add(
                record.number,
                f"fname {quote(dialogue.fname)} is already on {bad.unit} {earlier}",
            )
            continue
        first_seen[dialogue.fname] = record.number
        dialogues.append(dialogue)
    bad.raise_if_any()
    return dialogues


def to_csv(dialogues: Iterable[Dialogue], labelled: bool = True) -> str:
    """Canonical CSV text of a split: UTF-8 to be, newline ends, a missing reference left empty."""
    dialogues = list(dialogues)
    references = max((len(row.summaries) for row in dialogues), default=0)
    references = max(references, 1) if labelled else references
    names = [reference_column(index) for index in range(references)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    labels = ["topic", "group"]
    if any(row.cluster for row in dialogues):
        labels.append("cluster")
    writer.writerow(["fname", "dialogue", *names, *labels])
    for row in dialogues:
        padding = [""] * (references - len(row.summaries))
        values = [getattr(row, label) for label in labels]
        writer.writerow([row.fname, row.dialogue, *row.summaries, *padding, *values])
    return text.getvalue()


def load_split(path: Path, labelled: bool = True) -> list[Dialogue]:
    """A prepared split as prepare_data.py wrote it: already cleaned and checked, so only read.

    Raises UserError if it cannot be read or lacks a column (`labelled`: a summary, too).
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise UserError(f"{display(path)}: no such file; run prepare_data.py first") from None
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise UserError(
            f"{display(path)}: cannot be read ({error}); run prepare_data.py again"
        ) from None
    missing = {"fname", "dialogue", *(["summary"] if labelled else [])} - set(table.columns)
    if missing:
        raise UserError(
            f"{display(path)}: column missing: {', '.join(sorted(missing))}; run prepare_data.py "
            "again"
        )
    references = [name for name in table.columns if name.startswith("summary")]
    return [
        Dialogue(
            fname=row["fname"],
            dialogue=row["dialogue"],
            summaries=tuple(row[name] for name in references if row[name]),
            **{label: row.get(label, "") for label in OPTIONAL_COLUMNS},
        )
        for row in table.to_dict("records")
    ]


def reference_column(index: int) -> str:
    """Canonical column of reference `index` (from 0): summary, summary2, summary3, …"""
    return "summary" if index == 0 else f"summary{index + 1}"


def _checked_columns(path: Path, names: dict, found: list[str], labelled: bool) -> dict:
    """The mapping, its summary columns narrowed to those that the file has."""
    canonical = [name for name in found if re.fullmatch(r"summary[0-9]*", name)] or ["summary"]
    wanted = names["summaries"] or canonical
    names = {**names, "summaries": [name for name in wanted if name in found]}
    missing = [names[key] for key in ("fname", "dialogue") if names[key] not in found]
    missing += [
        names[key]
        for key in OPTIONAL_COLUMNS
        if names[key] not in (None, key) and names[key] not in found  # asked for by name
    ]
    if labelled and not names["summaries"]:
        missing.append(wanted[0] if len(wanted) == 1 else "one of " + ", ".join(wanted))
    if missing:
        have = ", ".join(name[:40] for name in found[:20]) or "none"
        raise UserError(
            f"{display(path)}: column missing: {'; '.join(missing)} (the file has: {have}); "
            "add it, or map the names under data.columns in the study (by hand: --study NAME)"
        )
    return names


def _parse_record(
    record: Record, names: dict, any_summary: bool, bad: BadRows, counts: Counter | None
) -> Dialogue | None:
    """One row as a Dialogue, or None with the reason added to `bad`."""
    try:
        fname = _name_cell(record.cells.get(names["fname"]))
        where = f"(fname {quote(fname)})"
        dialogue = _dialogue_cell(record.cells.get(names["dialogue"]), counts)
        if not dialogue:
            raise ValueError(f"{where} empty dialogue")
        summaries = _references(record.cells, names["summaries"], counts)
        if any_summary and not summaries:
            raise ValueError(f"{where} empty summary")
        labels = {
            key: " ".join(_text_cell(record.cells.get(names[key]), key, counts).split())
            for key in OPTIONAL_COLUMNS
            if names[key]
        }
    except ValueError as reason:
        bad.add(record.number, str(reason))
        return None
    return Dialogue(fname, dialogue, summaries, **labels)


def _dialogue_cell(value: object, counts: Counter | None) -> str:
    """A dialogue's text; a list of turns {speaker or participantID, utterance} becomes lines."""
    if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
        value = "\n".join(_turn(turn, f"turn {i}") for i, turn in enumerate(value, start=1))
    elif not isinstance(value, str | None):
        raise ValueError(f"dialogue must be text, found {quote(value)}")
    return _text_cell(value, "dialogue", counts)


def _turn(turn: dict, place: str) -> str:
    """`speaker: words`, or an empty string for an empty turn."""
    said = turn.get("speaker", turn.get("participantID")), turn.get("utterance")
    speaker, words = (" ".join(_text_cell(cell, place, None).split()) for cell in said)
    if not speaker or "utterance" not in turn:
        has = quote(", ".join(map(str, turn)))
        raise ValueError(f"{place} needs utterance and speaker (or participantID), it has {has}")
    return f"{speaker}: {words}" if words else ""


def _name_cell(value: object) -> str:
    name = _text_cell(value, "fname", None)
    if not name:
        raise ValueError("empty fname")
    if "\n" in name or len(name) > _MAX_NAME:
        raise ValueError(
            f"fname {quote(name)} is not a name: one line of at most {_MAX_NAME} characters"
        )
    return name


def _references(cells: dict, columns: list[str], counts: Counter | None) -> tuple[str, ...]:
    """The filled references of a row; a JSON list in one column counts as several."""
    values: list = []
    for column in columns:
        value = cells.get(column)
        values += value if isinstance(value, list) else [value]
    texts = (_text_cell(value, "summary", counts) for value in values)
    return tuple(text for text in texts if text)


def _text_cell(value: object, what: str, counts: Counter | None) -> str:
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


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip()) or value == []
