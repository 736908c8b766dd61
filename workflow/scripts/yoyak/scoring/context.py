"""What a score means: the floors below it and the ceiling above it.

A floor is what a system reaches that understood nothing; a score near it says nothing. The
ceiling is how well one person's summary scores against the other persons'.
"""

from collections.abc import Sequence

import numpy as np

from yoyak.config.study_settings import Metric
from yoyak.data.dialogues import Dialogue
from yoyak.scoring.rouge import MEASURES, Rouge
from yoyak.scoring.scores import summaries_by_group

FIRST_TURNS = (1, 2, 3)


def derangement(n: int, seed: int) -> np.ndarray:
    """A seeded random permutation that leaves nothing in its place; n must be 2 or more.

    Sattolo's algorithm: one cycle through all, so no element keeps its index.
    """
    if n < 2:
        raise ValueError("another dialogue's reference needs two dialogues or more")
    generator = np.random.default_rng(seed)
    order = np.arange(n)
    for last in range(n - 1, 0, -1):
        other = generator.integers(0, last)
        order[last], order[other] = order[other], order[last]
    return order


def floor_other_reference(
    rouge: Rouge, references: Sequence[Sequence[str]], seed: int
) -> np.ndarray:
    """Each dialogue "summarised" by another dialogue's first reference: shape (n, 3)."""
    order = derangement(len(references), seed)
    return rouge.score_all(references, [references[other][0] for other in order])


def floor_first_turns(
    rouge: Rouge, references: Sequence[Sequence[str]], dialogues: Sequence[str], turns: int
) -> np.ndarray:
    """Each dialogue "summarised" by its first turns (all of them, where it has fewer)."""
    return rouge.score_all(references, [first_turns(dialogue, turns) for dialogue in dialogues])


def ceiling_references(rouge: Rouge, references: Sequence[Sequence[str]]) -> np.ndarray:
    """Each reference against the dialogue's others, averaged: shape (n, 3).

    NaN for a dialogue with one reference. Each reference meets one reference fewer than a
    prediction does, which is fair under "mean" and a little low under "max".
    """
    scores = np.full((len(references), len(MEASURES)), np.nan)
    for row, of_dialogue in enumerate(references):
        if len(of_dialogue) < 2:
            continue
        scores[row] = np.mean(
            [
                rouge.score([*of_dialogue[:index], *of_dialogue[index + 1 :]], reference)
                for index, reference in enumerate(of_dialogue)
            ],
            axis=0,
        )
    return scores


def first_turns(dialogue: str, turns: int) -> str:
    return "\n".join(dialogue.split("\n")[:turns])


def context_scores(
    rouge: Rouge, references: Sequence[Sequence[str]], dialogues: Sequence[str], seed: int
) -> dict[str, np.ndarray]:
    """Every floor and, where any dialogue has several references, the ceiling: name → (n, 3)."""
    scores = {}
    if len(references) >= 2:
        scores["floor_other_reference"] = floor_other_reference(rouge, references, seed)
    for turns in FIRST_TURNS:
        name = f"floor_first_turn_{turns}"
        scores[name] = floor_first_turns(rouge, references, dialogues, turns)
    if any(len(of_dialogue) > 1 for of_dialogue in references):
        scores["ceiling_references"] = ceiling_references(rouge, references)
    return scores


def context_rows(dialogues: Sequence[Dialogue], metric: Metric) -> list[dict]:
    """Rows of context.csv: floors and ceiling under every tokenizer, of all and of each group."""
    references = [dialogue.summaries for dialogue in dialogues]
    texts = [dialogue.dialogue for dialogue in dialogues]
    groups = [dialogue.group for dialogue in dialogues]
    clusters = [dialogue.alike for dialogue in dialogues]
    rows = []
    for tokenizer in metric.tokenizers:
        rouge = Rouge(tokenizer, metric.references)
        for name, scores in context_scores(rouge, references, texts, metric.seed).items():
            found = summaries_by_group(scores, groups, metric, clusters)
            label = {"name": name, "tokenizer": tokenizer}
            rows.append({**label, "group": "all", **found["all"]})
            rows += [{**label, "group": group, **row} for group, row in found["groups"].items()]
    order = list(dict.fromkeys(row["name"] for row in rows))
    return sorted(rows, key=lambda row: order.index(row["name"]))  # stable: tokenizers keep theirs
