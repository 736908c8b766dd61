"""Assign dialogues to splits: drop leaks from train, hold out a slice, sample rows for debug."""

import contextlib
import random
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from yoyak.config.study import Study
from yoyak.config.study_settings import Data
from yoyak.data.dialogues import Dialogue
from yoyak.errors import PROJECT_ROOT, UserError
from yoyak.run.workspace import hash_file, hash_text


def raw_file(study: str, settings: Data, split: str) -> Path:
    """Path of a split's raw file, relative to the working directory or else to the project.

    Raises UserError that says what to put where.
    """
    named = getattr(settings, split)
    found = find_raw(named)
    if found is not None:
        return found
    columns = settings.columns
    needed = [columns.fname, columns.dialogue]
    needed += [columns.summaries[0]] if split != "test" else []
    raise UserError(
        f"study '{study}': data.{split}: {named[:200]} does not exist; put the {split} split "
        f"there (.csv, .jsonl or .json, UTF-8, columns {', '.join(needed)}) or correct the path in "
        f"config/studies/{study}.yaml"
    )


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
    """SHA-256 of the raw training and evaluation files, by name."""
    settings = study.settings.data
    files = {}
    for split in ("train", "dev"):
        path = raw_file(study.source, settings, split)
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        digest = hash_text(" ".join(map(hash_file, inside))) if inside else hash_file(path)
        files[getattr(settings, split)] = digest
    return files


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
