#!/usr/bin/env python3
"""Assemble train.csv, dev.csv and test.csv from the situation banks, from one seed.

python workflow/resources/dialogues/make_dialogues.py            # writes beside this script
python workflow/resources/dialogues/make_dialogues.py --output-dir /tmp/dialogues
"""

from __future__ import annotations

import argparse
import csv
import random
import re
from collections.abc import Iterator
from pathlib import Path

from scenes import Dialogue, compose, load_common, load_situations

HERE = Path(__file__).resolve().parent
SEED = 20261124
# split -> rows of situations seen in training, rows of situations that are not
ROWS = {"train": (660, 0), "dev": (90, 30), "test": (45, 15)}
COLUMNS = {
    "train": ["fname", "dialogue", "summary", "topic", "cluster"],
    "dev": ["fname", "dialogue", "summary", "summary2", "summary3", "topic", "group", "cluster"],
    "test": ["fname", "dialogue"],
}
NOISE_SHARE = 0.06
NEAR = 0.6  # a train dialogue shares at most this share of its turns with any one of dev or test


def plain(text: str) -> str:
    """The dialogue without noise and white space: two equal ones count as the same dialogue."""
    return re.sub(r"\\n|<br>|\s+", "", text)


def noisy(text: str, rng: random.Random) -> str:
    """The noise of scraped data in a few rows: a literal backslash-n or <br> for a line break,
    or behind a sentence."""
    if rng.random() >= NOISE_SHARE:
        return text
    mark = rng.choice(["\\n", "<br>"])
    places = [match.start() for match in re.finditer(r"\n|(?<=[.?!]) ", text)]
    if not places:
        return text
    place = rng.choice(places)
    return text[:place] + mark + text[place + 1 :]


def shared_turns(dialogue: Dialogue, other: Dialogue) -> float:
    """Share of the shorter one's turns that the other one holds word for word, tags included."""
    own, others = set(dialogue.turns), set(other.turns)
    return len(own & others) / min(len(own), len(others))


def stream(situations: list[dict], common: dict, seed: str) -> Iterator[Dialogue]:
    """Endless dialogues, each situation once a round in shuffled order; no repeated dialogue."""
    rng = random.Random(seed)
    told: set[str] = set()
    while True:
        for situation in rng.sample(situations, len(situations)):
            dialogue = compose(situation, common, rng)
            if plain(dialogue.text) not in told:
                told.add(plain(dialogue.text))
                yield dialogue


def make_splits(seed: int = SEED) -> dict[str, list[dict]]:
    """Rows of every split. Raises AssertionError if two splits share a dialogue."""
    common, situations = load_common(), load_situations()
    groups = [[s for s in situations if s["group"] == group] for group in ("seen", "unseen")]
    sources = [stream(group, common, f"{seed}/{i}") for i, group in enumerate(groups)]
    splits, held_out = {}, []
    for split in ("dev", "test", "train"):
        rng = random.Random(f"{seed}/{split}")
        if split == "train":  # nearly a dev or test dialogue: not for training
            sources[0] = (
                d for d in sources[0] if all(shared_turns(d, other) <= NEAR for other in held_out)
            )
        dialogues = [
            next(source) for source, n in zip(sources, ROWS[split], strict=True) for _ in range(n)
        ]
        held_out += dialogues
        rng.shuffle(dialogues)
        splits[split] = [
            row(f"{split}_{i}", dialogue, split, rng) for i, dialogue in enumerate(dialogues)
        ]
    texts = [plain(r["dialogue"]) for rows in splits.values() for r in rows]
    assert len(set(texts)) == len(texts), "two rows share a dialogue"
    return splits


def row(fname: str, dialogue: Dialogue, split: str, rng: random.Random) -> dict:
    """One CSV row: fname, dialogue and the columns that the split has."""
    names = ["summary", "summary2", "summary3"]
    full = {
        "fname": fname,
        "dialogue": noisy(dialogue.text, rng),
        "topic": dialogue.topic,
        "group": dialogue.group,
        "cluster": dialogue.situation,
        **dict(zip(names, dialogue.summaries, strict=False)),
    }
    return {column: full[column] for column in COLUMNS[split]}


def write_splits(splits: dict[str, list[dict]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        with open(folder / f"{split}.csv", "w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, COLUMNS[split], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output-dir", type=Path, default=HERE)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    splits = make_splits(arguments.seed)
    write_splits(splits, arguments.output_dir)
    for split, rows in splits.items():
        print(f"{split}.csv: {len(rows)} dialogues")


if __name__ == "__main__":
    main()
