"""What a text scores that reads nothing: a fixed search over constant summaries.

    PYTHONPATH=workflow/scripts python tests/benchmarks/constants.py [--data FOLDER]

Under the primary score of the embedded study (mean of ROUGE-1, -2 and -L F1 by morphemes,
references averaged) on dev.csv: the medoid of 500 train summaries, the best of those 500, the best
of 200 content-free texts written by rule, the summary of the train dialogue that is nearest by
BM25, and human agreement (each reference against the others). One line each, with the text.
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path

import numpy as np

from yoyak.scoring import floors
from yoyak.scoring.nearest import nearest
from yoyak.scoring.rouge import Rouge
from yoyak.scoring.tokenizers import CONTENT, make_tokenizer

RESOURCES = Path(__file__).resolve().parents[2] / "workflow" / "resources"
REFERENCES = ("summary", "summary2", "summary3")
TRAIN_SUMMARIES, CONTENT_FREE, SEED = 500, 200, 0
WHO = ["#Person1#은", "#Person2#는", "#Person2#가", "#Person1#은 #Person2#에게", "두 사람은"]
WHAT = ["", " 예약을", " 시간에 대해", " 때문에", " 내일"]
ENDS = {
    "합니다": ["합니다", "하기로 합니다", "하려고 합니다", "하라고 말합니다"],
    "한다": ["한다", "하기로 한다", "하려고 한다", "하라고 말한다"],
    "했다": ["했다", "하기로 했다", "하려고 했다", "하라고 말했다"],
    "했습니다": ["했습니다", "하기로 했습니다", "하려고 했습니다", "하라고 말했습니다"],
    "함": ["함", "하기로 함", "하려고 함", "하라고 말함"],
    "해요": ["해요", "하기로 해요", "하려고 해요", "하라고 말해요"],
}


def rows(path: Path) -> list[dict]:
    with open(path, encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def content_free(rng: random.Random) -> list[str]:
    """200 different texts of one or two clauses, of one style each; the first was the best in a
    search by hand."""
    texts = ["#Person1#은 #Person2#에게 합니다. #Person2#는 하기로 합니다."]
    while len(texts) < CONTENT_FREE:
        ends = rng.choice(list(ENDS.values()))
        clauses = [f"{rng.choice(WHO)}{rng.choice(WHAT)} {rng.choice(ends)}" for _ in range(2)]
        joined = (
            f"{rng.choice(WHO)}{rng.choice(WHAT)} {rng.choice(['하고', '하는데'])}, {clauses[0]}."
        )
        text = rng.choice([f"{clauses[0]}.", f"{clauses[0]}. {clauses[1]}.", joined])
        texts += [text] if text not in texts else []
    return texts


def primary(rouge: Rouge, references: list[list[str]], texts: list[str]) -> np.ndarray:
    """The primary score of one text for each dialogue, 0–100: shape (dialogues,)."""
    return 100 * rouge.score_all(references, texts).mean(axis=1)


def human(rouge: Rouge, references: list[list[str]]) -> np.ndarray:
    """Each reference against the others, averaged, 0–100: shape (dialogues,)."""
    return 100 * rouge.human_agreement(references).mean(axis=1)


def nearest_summaries(train: list[dict], dev: list[dict]) -> list[str]:
    """For every dev dialogue the summary of the train dialogue that BM25 finds."""
    tokenizer = make_tokenizer(CONTENT["ko"])
    documents, queries = (
        [tokenizer.tokenize_once(row["dialogue"]) for row in part] for part in (train, dev)
    )
    return [train[place]["summary"] for place in nearest(documents, queries)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=RESOURCES / "dialogues")
    train, dev = (rows(parser.parse_args().data / f"{split}.csv") for split in ("train", "dev"))
    references = [[row[name] for name in REFERENCES] for row in dev]
    unseen = np.array([row["group"] == "unseen" for row in dev])
    rouge = Rouge("morphemes")

    def tell(name: str, scores: np.ndarray, text: str = "") -> None:
        groups = f"seen {scores[~unseen].mean():.1f}  unseen {scores[unseen].mean():.1f}"
        print(f"{name:28} {scores.mean():.1f}  {groups}  {text}", flush=True)

    def best(name: str, texts: list[str]) -> None:
        scores = [primary(rouge, references, [text] * len(dev)) for text in texts]
        at = int(np.argmax([of_text.mean() for of_text in scores]))
        tell(name, scores[at], texts[at])

    rng = random.Random(SEED)
    summaries = [row["summary"] for row in train]
    tell("human agreement", human(rouge, references))
    tell("nearest train dialogue", primary(rouge, references, nearest_summaries(train, dev)))
    best("medoid", [summaries[floors.medoid(rouge, summaries)]])
    best("best of 500 train summaries", rng.sample(summaries, min(TRAIN_SUMMARIES, len(train))))
    best("best of 200 content-free", content_free(rng))


if __name__ == "__main__":
    main()
