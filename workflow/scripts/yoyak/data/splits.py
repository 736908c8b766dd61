"""Assign dialogues to splits: drop leaks from train, hold out a slice, sample rows for debug."""

import contextlib
import random
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from yoyak.config.hub_dataset import HubDataset, hub_dataset
from yoyak.config.study import Study
from yoyak.config.study_settings import Data
from yoyak.data.dialogues import Dialogue
from yoyak.data.hub import fetch
from yoyak.data.reading import local_files
from yoyak.data.rows import RawData
from yoyak.errors import PROJECT_ROOT, UserError
from yoyak.run.workspace import hash_file, hash_text


def raw_data(study: str, settings: Data, split: str) -> RawData:
    """Path of a split's raw file or folder, from the working directory or else from the project.

    For `hf:owner/name` the dataset on the Hub, with the usual split where none is named; nothing is
    fetched.

    Raises UserError that says what to put where.
    """
    named = getattr(settings, split)
    hub = hub_dataset(named, split)
    if hub is not None:
        return hub
    found = find_raw(named)
    if found is not None:
        return found
    columns = settings.columns
    needed = [columns.fname] if columns.fname else []
    needed += [columns.dialogue, *(columns.summaries[:1] if split != "test" else [])]
    raise UserError(
        f"study '{study}': data.{split}: {named[:200]} does not exist; put the {split} split "
        f"there (.csv, .jsonl, .json or .parquet, columns {', '.join(needed)}), or correct the "
        f"path in config/studies/{study}.yaml"
    )


def data_name(settings: Data, split: str) -> str:
    """A split's raw data as the study names them; of the Hub's with the split that is read."""
    named = getattr(settings, split)
    return str(hub_dataset(named, split) or named)


def find_raw(named: str) -> Path | None:
    """The file or folder of this name in the working directory, else in the project."""
    # Files that were made on a Mac may have decomposed Hangul in their names.
    forms = dict.fromkeys((named, *(unicodedata.normalize(form, named) for form in ("NFC", "NFD"))))
    for path in (root / form for form in forms for root in (Path(), PROJECT_ROOT)):
        with contextlib.suppress(OSError, ValueError):  # too long, or no path at all
            if path.exists():
                return path
    return None


def raw_digests(study: Study) -> dict[str, str]:
    """SHA-256 of the raw training and evaluation data, by name."""
    digests = {}
    for split in ("train", "dev"):
        digest = raw_record(raw_data(study.source, study.settings.data, split))["sha256"]
        if isinstance(digest, dict):
            digest = hash_text(" ".join(digest.values()))
        digests[data_name(study.settings.data, split)] = digest
    return digests


def raw_record(source: RawData) -> dict:
    """What identifies raw data: SHA-256 of the file, or of each of several; the Hub's commit.

    A dataset on the Hub is fetched if it is not here yet.
    """
    if isinstance(source, HubDataset):
        found = fetch(source)
        hashes = {name: hash_file(file) for name, file in found.files.items()}
        return {"revision": found.commit, "sha256": hashes}
    if source.is_file():
        return {"sha256": hash_file(source)}
    files = local_files(source)
    return {"sha256": {file.relative_to(source).as_posix(): hash_file(file) for file in files}}


def drop_leaks(
    train: Sequence[Dialogue], others: Mapping[str, Sequence[Dialogue]]
) -> tuple[list[Dialogue], dict[str, int]]:
    """Drop the train dialogues that also appear in another split, ignoring blanks, case and
    punctuation.

    Returns the kept rows and, for each other split, how many train rows were dropped because of it.
    """
    kept = [(identity(row), row) for row in train]
    dropped = {}
    for split, rows in others.items():
        known = {identity(row) for row in rows}
        clean = [item for item in kept if item[0] not in known]
        dropped[split] = len(kept) - len(clean)
        kept = clean
    return [row for _, row in kept], dropped


def hold_out(
    train: Sequence[Dialogue], fraction: float, seed: int
) -> tuple[list[Dialogue], list[Dialogue]]:
    """Split train into training rows and a seeded slice for choosing the best checkpoint.

    Equal dialogues stay on one side, so no dialogue of the slice is trained on. Keeps file order.
    """
    groups = defaultdict(list)
    for position, row in enumerate(train):
        groups[identity(row)].append(position)
    order = list(groups.values())
    random.Random(seed).shuffle(order)
    wanted = max(1, round(fraction * len(train)))
    chosen: set[int] = set()
    for positions in order:
        if len(chosen) >= wanted:
            break
        chosen.update(positions)
    if len(chosen) >= len(train):
        raise UserError(
            f"train has {len(train)} dialogue(s): too few to hold out a selection slice; add rows, "
            "or set data.selection: dev in the study"
        )
    learned = [row for position, row in enumerate(train) if position not in chosen]
    return learned, [train[position] for position in sorted(chosen)]


def few_rows(rows: Sequence[Dialogue], limit: int, seed: int) -> list[Dialogue]:
    """A seeded sample of at most `limit` rows, in file order, for debug."""
    if len(rows) <= limit:
        return list(rows)
    return [rows[index] for index in sorted(random.Random(seed).sample(range(len(rows)), limit))]


def repeated(rows: Sequence[Dialogue]) -> int:
    """How many rows repeat the dialogue of an earlier row."""
    return len(rows) - len({identity(row) for row in rows})


def identity(row: Dialogue) -> str:
    """Key that equal dialogues share: letters, digits and emoji only.

    Blanks, case and punctuation are ignored, unless there is nothing else.
    """
    text = unicodedata.normalize("NFC", row.dialogue).casefold()
    return text.translate(_NO_PUNCTUATION) or "".join(text.split())


class _NoPunctuation(dict):
    """For str.translate: drops blanks, punctuation, and signs used as such (~ ^ + =)."""

    def __missing__(self, code: int) -> int | None:
        kind = unicodedata.category(chr(code))
        self[code] = None if kind[0] in "ZPC" or kind in ("Sm", "Sk") else code
        return self[code]


_NO_PUNCTUATION = _NoPunctuation()
