"""From pairs of texts to dialogues: a prediction against each of its references, and people's."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np


class PairMetric(ABC):
    """What every metric is: the score of one prediction against one reference.

    Several references are taken together here, in the same way for all, so that human agreement
    (which meets one fewer) and "mean" or "max" are the same things in every row of a table.

    Args:
        references: with several references, their "mean" or, for each measure apart, their "max"
            (what rouge-score's `score_multi` and sacrebleu do).
    """

    name: str  # as the signature has it
    measures: tuple[str, ...] = ("score",)  # what `score_pair` returns; their mean is the score

    def __init__(self, references: str = "mean") -> None:
        if references not in ("mean", "max"):
            raise ValueError(f"references must be 'mean' or 'max', not {references!r}")
        self.references = references

    @abstractmethod
    def score_pair(self, reference: str, prediction: str) -> tuple[float, ...]:
        """Its measures, each 0–1."""

    @abstractmethod
    def parts(self) -> dict[str, str]:
        """Its share of a signature: all that its numbers depend on."""

    def prepare(self, texts: Sequence[str]) -> None:  # noqa: B027
        """Told of all texts before their pairs come: for a metric that reads them in batches."""

    def score_each(self, references: Sequence[str], prediction: str) -> np.ndarray:
        """Against each reference of one dialogue: shape (references, measures), 0–1."""
        if not references:
            raise ValueError("a prediction needs at least one reference")
        return np.array([self.score_pair(reference, prediction) for reference in references])

    def score(self, references: Sequence[str], prediction: str) -> np.ndarray:
        """Against all references of one dialogue: shape (measures,), 0–1."""
        return self._combine_references(self.score_each(references, prediction))

    def score_all(
        self, references: Sequence[Sequence[str]], predictions: Sequence[str]
    ) -> np.ndarray:
        """Scores of many dialogues: shape (dialogues, measures), 0–1."""
        return self.score_with_peers(references, predictions)[0]

    def score_with_peers(
        self, references: Sequence[Sequence[str]], predictions: Sequence[str | None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores against all references, and against all but one: each (dialogues, measures), 0–1.

        The latter is averaged over the reference that is left out, and NaN where there is one
        alone. A person's summary meets one reference fewer than a prediction, which matters under
        "max": this is what may be held against it. A prediction that is None gives NaN.
        """
        told = [text for text in predictions if text is not None]
        self.prepare([*told, *(text for of_dialogue in references for text in of_dialogue)])
        scores = np.full((2, len(references), len(self.measures)), np.nan)
        for row, (of_dialogue, text) in enumerate(zip(references, predictions, strict=True)):
            if text is None:
                continue
            each = self.score_each(of_dialogue, text)
            scores[0, row] = self._combine_references(each)
            if len(each) > 1:
                left = [np.delete(each, out, axis=0) for out in range(len(each))]
                scores[1, row] = np.mean([self._combine_references(some) for some in left], axis=0)
        return scores[0], scores[1]

    def human_agreement(self, references: Sequence[Sequence[str]]) -> np.ndarray:
        """Each reference against the dialogue's others, averaged: shape (dialogues, measures).

        NaN for a dialogue with one reference. Under "max" compare it with scores against all
        references but one: `score_with_peers`.
        """
        self.prepare([text for of_dialogue in references for text in of_dialogue])
        scores = np.full((len(references), len(self.measures)), np.nan)
        for row, of_dialogue in enumerate(references):
            if len(of_dialogue) > 1:
                scores[row] = np.mean(
                    [
                        self.score([*of_dialogue[:index], *of_dialogue[index + 1 :]], reference)
                        for index, reference in enumerate(of_dialogue)
                    ],
                    axis=0,
                )
        return scores

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """What someone else needs to reach the same numbers, in the manner of sacrebleu."""
        counts = sorted({len(of_dialogue) for of_dialogue in references}) or [0]
        number = str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
        parts = {
            "metric": self.name,
            "nrefs": number,
            "refs": self.references if counts[-1] > 1 else "single",
            **self.parts(),
        }
        return "|".join(f"{key}:{value}" for key, value in parts.items())

    def _combine_references(self, each: np.ndarray) -> np.ndarray:
        return each.mean(axis=0) if self.references == "mean" else each.max(axis=0)
