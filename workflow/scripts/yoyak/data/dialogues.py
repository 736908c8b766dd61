"""Dialogues with their reference summaries: read, mapped to one shape, cleaned, checked, written.

Raw data may have many forms (`reading`) and columns of any name. Everything after them sees
`Dialogue` rows, or the canonical CSV columns
fname, dialogue, summary[, summary2, …], topic, group[, cluster].
"""

import csv
import io
import logging
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from yoyak.config.hub_dataset import HubDataset
from yoyak.data.cells import first_of, is_blank, label_cell, name_cell, reference_cells, text_cell
from yoyak.data.hub import fetch, sliced
from yoyak.data.label_names import name_labels
from yoyak.data.reading import parts_of, read_records
from yoyak.data.rows import (
    OPTIONAL_COLUMNS,
    BadRows,
    RawData,
    Record,
    named_source,
    quote,
    wanted_columns,
)
from yoyak.data.turns import dialogue_cell, renamed
from yoyak.errors import UserError, display
from yoyak.run.workspace import hash_text

log = logging.getLogger(__name__)
SPEAKER_TAG = re.compile(r"^(#[^#\s]{1,40}#)\s*[:：]", re.MULTILINE)


@dataclass(frozen=True)
class Dialogue:
    """One dialogue: turns separated by newlines, and any number of reference summaries."""

    fname: str
    dialogue: str
    summaries: tuple[str, ...] = ()
    topic: str = ""
    group: str = ""
    cluster: str = ""  # dialogues that are alike: one situation, one source
    names: tuple[str, ...] = ()  # of raw data: the speakers' own, in their tags' order, if numbered

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
    source: RawData | str,
    columns: dict | None = None,
    labelled: bool = True,
    counts: Counter | None = None,
    numbered: bool = False,
) -> list[Dialogue]:
    """Read, clean and check one split.

    Args:
        source: a .csv, .tsv, .json, .jsonl or .parquet file, a folder of JSON files or one saved by
            `datasets`, or a dataset on the Hub.
        columns: names in the file: {"fname", "dialogue", "summaries": [...], "topic", "group",
            "cluster"};
            without it the canonical names, with every column summary, summary2, … a reference.
            `body.summary` is the cell `summary` of the object `body`. Where "fname" is None, or no
            column has the usual name, names are made from the dialogues.
        labelled: every row must have a summary. If False, a split in which no row has one is
            fine too (a test split as competitions give it out).
        counts: gains, for each cleaning rule, the number of texts that it changed.
        numbered: the speakers of a list of turns are called #Person1#, #Person2#, …

    Raises:
        UserError: the data cannot be read, lack a column, or have bad rows; one line names them.
    """
    names = wanted_columns(columns)
    dialogues: list[Dialogue] = []
    place: dict[str, Path] = {}
    source = named_source(source) if isinstance(source, str) else source
    labels = fetch(source).labels if isinstance(source, HubDataset) else {}
    for part in parts_of(source):
        for dialogue in _read_part(part, names, labels, labelled, counts, numbered):
            if dialogue.fname in place:
                raise UserError(
                    f"{display(part)}: fname {quote(dialogue.fname)} stands in "
                    f"{display(place[dialogue.fname])} already; keep one of the two"
                )
            if dialogue.fname:
                place[dialogue.fname] = part
            dialogues.append(dialogue)
    named = _all_named(dialogues)
    return sliced(named, source) if isinstance(source, HubDataset) else named


def _read_part(
    part: Path,
    names: dict,
    labels: dict[str, list[str]],
    labelled: bool,
    counts: Counter | None,
    numbered: bool,
) -> list[Dialogue]:
    """The dialogues of one file; their fname is "" where the file has no column for it."""
    records, found, bad = read_records(part, names)
    for record in records:
        name_labels(record.cells, labels)
    if not records:
        bad.raise_if_any()
    names = _checked_columns(part, names, found, labelled)
    if not records:
        raise UserError(f"{display(part)}: has columns but no rows")
    any_summary = labelled or any(
        not is_blank(record.cells.get(column))
        for record in records
        for column in names["summaries"]
    )
    dialogues: list[Dialogue] = []
    first_seen: dict[str, int] = {}
    for record in records:
        dialogue = _parse_record(record, names, any_summary, bad, counts, numbered)
        if dialogue is None:
            continue
        if dialogue.fname in first_seen:
            earlier = first_seen[dialogue.fname]
            bad.add(
                record.number,
                f"fname {quote(dialogue.fname)} is already on {bad.unit} {earlier}",
            )
            continue
        if dialogue.fname:
            first_seen[dialogue.fname] = record.number
        dialogues.append(dialogue)
    bad.raise_if_any()
    return dialogues


def _all_named(dialogues: list[Dialogue]) -> list[Dialogue]:
    """The rows, those without a name under one made from their words.

    The same dialogue gets the same name in any file and at any place in it; a second one of equal
    words gets -2 behind it, and so on.
    """
    seen: Counter[str] = Counter()
    named = []
    for row in dialogues:
        if not row.fname:
            name = f"id-{hash_text(row.dialogue)[:12]}"
            seen[name] += 1
            row = replace(row, fname=name if seen[name] == 1 else f"{name}-{seen[name]}")
        named.append(row)
    return named


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


def _checked_columns(part: Path, names: dict, found: list[str], labelled: bool) -> dict:
    """The mapping, narrowed to the summary columns and the fname that the file has."""
    canonical = [name for name in found if re.fullmatch(r"summary[0-9]*", name)] or ["summary"]
    wanted = names["summaries"] or canonical
    names = {**names, "summaries": [name for name in wanted if name in found]}
    missing = [names["dialogue"]] if names["dialogue"] not in found else []
    missing += [
        names[key]
        for key in ("fname", *OPTIONAL_COLUMNS)
        if names[key] not in (None, key) and names[key] not in found  # asked for by name
    ]
    if labelled and not names["summaries"]:
        missing.append(wanted[0] if len(wanted) == 1 else "one of " + ", ".join(wanted))
    if missing:
        have = ", ".join(name[:40] for name in found[:20]) or "none"
        raise UserError(
            f"{display(part)}: column missing: {'; '.join(missing)} (the file has: {have}); "
            "add it, or map the names under data.columns in the study (by hand: --study NAME)"
        )
    if names["fname"] and names["fname"] not in found:
        log.warning(
            "%s: has no column fname: names are made from the dialogues (data.columns.fname may "
            "name another column)",
            display(part),
        )
        names["fname"] = None
    return names


def _parse_record(
    record: Record,
    names: dict,
    any_summary: bool,
    bad: BadRows,
    counts: Counter | None,
    numbered: bool,
) -> Dialogue | None:
    """One row as a Dialogue, or None with the reason added to `bad`."""
    cells, fname, where = record.cells, "", ""
    try:
        if names["fname"]:
            fname = name_cell(first_of(cells, [names["fname"]]))
            where = f"(fname {quote(fname)}) "
        turns, tags = dialogue_cell(first_of(cells, [names["dialogue"]]), numbered)
        dialogue = text_cell(turns, "dialogue", counts)
        if not dialogue:
            raise ValueError("empty dialogue")
        if any_summary:
            first_of(cells, names["summaries"])
        summaries = reference_cells(cells, names["summaries"], counts)
        if any_summary and not summaries:
            raise ValueError("empty summary")
        labels = {
            key: label_cell(cells.get(names[key]), key, counts)
            for key in OPTIONAL_COLUMNS
            if names[key]
        }
    except ValueError as reason:
        bad.add(record.number, f"{where}{reason}")
        return None
    named = tuple(renamed(text, tags) for text in summaries)
    return Dialogue(fname, dialogue, named, **labels, names=tuple(tags))
