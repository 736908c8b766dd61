"""Which dialogue goes into which split: leaks out of train, a slice held out, debug's few rows."""

import contextlib
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yoyak.config.study_settings import Data
from yoyak.data.dialogues import Dialogue
from yoyak.errors import PROJECT_ROOT, UserError

SHINGLE_WORDS = 3
NEAR_DUPLICATE_JACCARD = 0.5
PAIRS_SHOWN = 20
_TAG = re.compile(r"#[^#\s]{1,40}#\s*[:：]?")
_PUNCTUATION = re.compile(r"[^\w\s]")


def raw_file(study: str, settings: Data, split: str) -> Path:
    """Where a split's raw file lies: relative to the working directory, else to the project.

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
        f"there (.csv or .jsonl, UTF-8, columns {', '.join(needed)}) or correct the path in "
        f"config/studies/{study}.yaml"
    )


def find_raw(named: str) -> Path | None:
    """The file or folder of this name below the working directory, else below the project."""
    for path in (Path(named), PROJECT_ROOT / named):
        with contextlib.suppress(OSError, ValueError):  # too long, or no path at all
            if path.exists():
                return path
    return None


@dataclass(frozen=True)
class NearDuplicate:
    """Two dialogues of different splits that share at least half of their word triples."""

    split: str
    fname: str
    train_fname: str
    jaccard: float


def drop_leaks(
    train: Sequence[Dialogue], others: dict[str, Sequence[Dialogue]]
) -> tuple[list[Dialogue], dict[str, int]]:
    """Drop the train dialogues that also stand in another split (blanks and case aside).

    Returns the kept rows and, for each other split, how many train rows were dropped because of it.
    """
    kept = list(train)
    dropped = {}
    for split, rows in others.items():
        known = {identity(row) for row in rows}
        clean = [row for row in kept if identity(row) not in known]
        dropped[split] = len(kept) - len(clean)
        kept = clean
    return kept, dropped


def near_duplicates(
    train: Sequence[Dialogue], others: dict[str, Sequence[Dialogue]]
) -> list[NearDuplicate]:
    """Pairs of a train and a dev or test dialogue with Jaccard similarity of word triples ≥ 0.5.

    Exact, by an index from each triple to the few dev and test dialogues that hold it; about two
    seconds for 12,457 train rows. Speaker tags and punctuation do not count.
    """
    index = defaultdict(list)
    sizes = []
    for split, rows in others.items():
        for row in rows:
            shingles = _shingles(row.dialogue)
            for shingle in shingles:
                index[shingle].append(len(sizes))
            sizes.append((split, row.fname, len(shingles)))
    found = []
    for row in train:
        shingles = _shingles(row.dialogue)
        shared: dict[int, int] = defaultdict(int)
        for shingle in shingles:
            for other in index.get(shingle, ()):
                shared[other] += 1
        for other, count in shared.items():
            split, fname, size = sizes[other]
            jaccard = count / (size + len(shingles) - count)
            if jaccard >= NEAR_DUPLICATE_JACCARD:
                found.append(NearDuplicate(split, fname, row.fname, round(jaccard, 4)))
    return sorted(found, key=lambda pair: (-pair.jaccard, pair.split, pair.fname, pair.train_fname))


def hold_out(
    train: Sequence[Dialogue], fraction: float, seed: int
) -> tuple[list[Dialogue], list[Dialogue]]:
    """Split train into what is learned and a seeded slice that selects the best checkpoint.

    Equal dialogues stay on one side, so the slice never holds what was learned. File order is kept.
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
    """A seeded sample of at most `limit` rows in file order: debug sees all kinds of rows."""
    if len(rows) <= limit:
        return list(rows)
    return [rows[index] for index in sorted(random.Random(seed).sample(range(len(rows)), limit))]


def repeated(rows: Sequence[Dialogue]) -> int:
    """How many rows repeat the dialogue of an earlier row."""
    return len(rows) - len({identity(row) for row in rows})


def identity(row: Dialogue) -> str:
    """What two rows share when they hold the same dialogue: its text but for blanks and case."""
    return " ".join(row.dialogue.split()).casefold()


def _shingles(dialogue: str) -> set[int]:
    words = _PUNCTUATION.sub(" ", _TAG.sub(" ", dialogue)).casefold().split()
    if len(words) < SHINGLE_WORDS:
        return {hash(tuple(words))} if words else set()
    return {hash(triple) for triple in zip(words, words[1:], words[2:], strict=False)}
