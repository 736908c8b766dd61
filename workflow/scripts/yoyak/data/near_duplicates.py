"""Near-duplicates between train and the other splits: dialogues that share half of their word
triples.

Exact, and quick whatever the texts share. Triples that few dialogues hold are counted by a sparse
product; those that many hold (greetings, the phrases of a call centre) by a dense one, whose cost
does not grow with the number of dialogues that hold them.
"""

import re
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from yoyak.data.dialogues import Dialogue

SHINGLE_WORDS = 3
NEAR_DUPLICATE_JACCARD = 0.5
PAIRS_SHOWN = 20
BLOCK = 250  # train rows at once: with 10,000 others 10 MB of counts
DENSE_SHARE = 1 / 300  # a triple that joins more than this share of all pairs is counted densely
_TAG = re.compile(r"#[^#\s]{1,40}#\s*[:：]?")
_PUNCTUATION = re.compile(r"[^\w\s]")


@dataclass(frozen=True)
class NearDuplicate:
    """Two dialogues of different splits that share at least half of their word triples."""

    split: str
    fname: str
    train_fname: str
    jaccard: float


@dataclass(frozen=True)
class NearDuplicates:
    """How many rows of train and of each other split have a near-duplicate; the closest pairs."""

    train_rows: int
    rows: dict[str, int]
    closest: list[NearDuplicate]


def near_duplicates(
    train: Sequence[Dialogue], others: Mapping[str, Sequence[Dialogue]]
) -> NearDuplicates:
    """Pairs of a train and a dev or test dialogue with Jaccard similarity of word triples ≥ 0.5.

    Speaker tags and punctuation do not count. 100,000 × 10,000 dialogues of 400 characters take
    less than a minute on one core. Of equally close pairs the first by split and names are shown.
    """
    train = sorted(train, key=lambda row: row.fname)
    named = [(split, row) for split, rows in others.items() for row in rows]
    named.sort(key=lambda item: (item[0], item[1].fname))
    near_train, near_other = np.zeros(len(train), bool), np.zeros(len(named), bool)
    closest, least = np.empty(0, np.int64), NEAR_DUPLICATE_JACCARD
    for start, overlap, union in _overlaps(train, [row for _, row in named]):
        near = overlap >= NEAR_DUPLICATE_JACCARD * union
        near_train[start : start + len(near)] = near.any(axis=1)
        near_other |= near.any(axis=0)
        if not near.any():
            continue
        rows, columns = np.nonzero(overlap >= least * union)
        jaccard = overlap[rows, columns] / union[rows, columns].astype(float)
        distance = 10_000 - np.rint(jaccard * 10_000).astype(np.int64)
        # One number a pair, in the order in which pairs are shown.
        places = (distance * len(named) + columns) * len(train) + rows + start
        closest = _smallest(np.concatenate([closest, places]), PAIRS_SHOWN)
        if len(closest) == PAIRS_SHOWN:
            worst = int(closest.max()) // (len(named) * len(train))
            least = max(least, 1 - (worst + 1) / 10_000)
    found = Counter(split for (split, _), near in zip(named, near_other, strict=True) if near)
    return NearDuplicates(
        train_rows=int(near_train.sum()),
        rows={split: found[split] for split in others},
        closest=[_pair(place, train, named) for place in sorted(closest.tolist())],
    )


def _smallest(values: np.ndarray, number: int) -> np.ndarray:
    return np.partition(values, number)[:number] if len(values) > number else values


def _pair(place: int, train: list[Dialogue], named: list[tuple[str, Dialogue]]) -> NearDuplicate:
    place, row = divmod(place, len(train))
    distance, column = divmod(place, len(named))
    split, other = named[column]
    return NearDuplicate(split, other.fname, train[row].fname, (10_000 - distance) / 10_000)


def _overlaps(train: Sequence[Dialogue], others: Sequence[Dialogue]):
    """Yields first row, triples in common and in either (both rows × others, float32) by blocks."""
    columns: dict[int, int] = {}
    b, size_b = _membership(others, columns, grow=True)
    a, size_a = _membership(train, columns)
    joined = np.asarray(a.sum(axis=0, dtype=float)) * np.asarray(b.sum(axis=0, dtype=float))
    dense = joined.ravel() > DENSE_SHARE * len(train) * len(others)
    rare_a, often_a = a[:, ~dense], a[:, dense]
    rare_b, often_b = b[:, ~dense].T.tocsr(), b[:, dense].toarray().T
    for start in range(0, len(train), BLOCK):
        block = slice(start, start + BLOCK)
        overlap = (rare_a[block] @ rare_b).toarray()
        if len(often_b):
            overlap += often_a[block].toarray() @ often_b
        yield start, overlap, size_a[block, None] + size_b - overlap


def _membership(
    rows: Sequence[Dialogue], columns: dict[int, int], grow: bool = False
) -> tuple[sparse.csr_array, np.ndarray]:
    """Rows × triples, 1 where a row holds the triple; and the number of each row's triples.

    columns: the column of each triple; `grow` gives new triples one, else they are left out.
    """
    places, ends, sizes = array("q"), array("q", [0]), array("f")
    for row in rows:
        triples = _triples(row.dialogue)
        if grow:
            for triple in triples:
                columns.setdefault(triple, len(columns))
        places.extend(columns[triple] for triple in triples if triple in columns)
        ends.append(len(places))
        sizes.append(max(len(triples), 1))  # nothing is similar to a text without words
    ones = np.ones(len(places), np.float32)
    shape = (len(rows), len(columns))
    return sparse.csr_array((ones, np.array(places), np.array(ends)), shape), np.array(sizes)


def _triples(dialogue: str) -> set[int]:
    words = _PUNCTUATION.sub(" ", _TAG.sub(" ", dialogue)).casefold().split()
    if len(words) < SHINGLE_WORDS:
        return {hash(tuple(words))} if words else set()
    return {hash(triple) for triple in zip(words, words[1:], words[2:], strict=False)}
