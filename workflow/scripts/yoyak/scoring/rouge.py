"""ROUGE-1/2/L F1 as rouge-score has it, fed by a tokenizer of ours, over one or several references.

rouge-score counts the n-grams of both texts anew for each pair, and fills a table cell by cell for
the longest common subsequence. Here each text is counted once, and the subsequence's length comes
from whole-number bit operations, some fifty times faster; both go through rouge-score's formula.
The tests hold the results equal to rouge-score's to the last bit.
"""

from collections import Counter
from collections.abc import Sequence
from importlib import metadata

import numpy as np
from rouge_score import scoring

from yoyak.scoring.tokenizers import make_tokenizer

MEASURES = ("rouge1", "rouge2", "rougeL")


class Rouge:
    """Scores predictions under one tokenizer.

    Args:
        tokenizer: one of `tokenizers.TOKENIZERS`.
        references: with several references, their "mean" or, for each measure apart, their "max"
            (what rouge-score's `score_multi` does).
    """

    def __init__(self, tokenizer: str, references: str = "mean") -> None:
        if references not in ("mean", "max"):
            raise ValueError(f"references must be 'mean' or 'max', not {references!r}")
        self.tokenizer = make_tokenizer(tokenizer)
        self.references = references
        self._counts: dict[str, tuple[Counter, Counter]] = {}

    def tokenize(self, text: str) -> list[str]:
        return self.tokenizer.tokenize(text)

    def score_pair(self, reference: str, prediction: str) -> tuple[float, float, float]:
        """F1 of ROUGE-1, -2 and -L, each 0–1; 0 where either text has no token."""
        ones, twos = zip(self._count(reference), self._count(prediction), strict=True)
        lcs = lcs_f1(self.tokenize(reference), self.tokenize(prediction))
        return ngram_f1(*ones), ngram_f1(*twos), lcs

    def score_each(self, references: Sequence[str], prediction: str) -> np.ndarray:
        """F1 against each reference of one dialogue: shape (references, 3), 0–1."""
        if not references:
            raise ValueError("a prediction needs at least one reference")
        return np.array([self.score_pair(reference, prediction) for reference in references])

    def score(self, references: Sequence[str], prediction: str) -> np.ndarray:
        """F1 of ROUGE-1, -2 and -L against all references of one dialogue: shape (3,), 0–1."""
        return self._combine_references(self.score_each(references, prediction))

    def score_all(
        self, references: Sequence[Sequence[str]], predictions: Sequence[str]
    ) -> np.ndarray:
        """Scores of many dialogues: shape (dialogues, 3), 0–1, columns as in MEASURES."""
        return self.score_with_peers(references, predictions)[0]

    def score_with_peers(
        self, references: Sequence[Sequence[str]], predictions: Sequence[str | None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores against all references, and against all but one: each (dialogues, 3), 0–1.

        The latter is averaged over the reference that is left out, and NaN where there is one
        alone. A person's summary meets one reference fewer than a prediction, which matters under
        "max": this is what may be held against it. A prediction that is None gives NaN.
        """
        scores = np.full((2, len(references), len(MEASURES)), np.nan)
        for row, (of_dialogue, text) in enumerate(zip(references, predictions, strict=True)):
            if text is None:
                continue
            each = self.score_each(of_dialogue, text)
            scores[0, row] = self._combine_references(each)
            if len(each) > 1:
                left = [np.delete(each, out, axis=0) for out in range(len(each))]
                scores[1, row] = np.mean([self._combine_references(some) for some in left], axis=0)
        return scores[0], scores[1]

    def _combine_references(self, each: np.ndarray) -> np.ndarray:
        return each.mean(axis=0) if self.references == "mean" else each.max(axis=0)

    def _count(self, text: str) -> tuple[Counter, Counter]:
        """Its tokens and pairs of tokens, counted."""
        counts = self._counts.get(text)
        if counts is None:
            tokens = self.tokenize(text)
            pairs = zip(tokens, tokens[1:], strict=False)
            counts = self._counts[text] = Counter(tokens), Counter(pairs)
        return counts

    def signature(self, references: Sequence[Sequence[str]]) -> str:
        """Everything needed to reproduce the numbers, in the style of sacrebleu."""
        counts = sorted({len(of_dialogue) for of_dialogue in references}) or [0]
        number = str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
        parts = {
            "metric": "rouge1+2+L-f1",
            "nrefs": number,
            "refs": self.references if counts[-1] > 1 else "single",
            "L": "whole-text",  # no sentences are split: one subsequence through the whole text
            "tok": self.tokenizer.name,
            **self.tokenizer.parts,
            "tokens": self.tokenizer.fingerprint(),
            "unicode": "NFC",
            "version": f"rouge-score-{metadata.version('rouge-score')}",
        }
        return "|".join(f"{key}:{value}" for key, value in parts.items())


def ngram_f1(reference: Counter, prediction: Counter) -> float:
    """ROUGE-N F1 of counted n-grams, by rouge-score's formula."""
    fewer, more = sorted((reference, prediction), key=len)
    hits = sum(min(count, more[ngram]) for ngram, count in fewer.items() if ngram in more)
    precision, recall = hits / max(prediction.total(), 1), hits / max(reference.total(), 1)
    return scoring.fmeasure(precision, recall)


def lcs_f1(reference: Sequence[str], prediction: Sequence[str]) -> float:
    """ROUGE-L F1 of two token lists, by rouge-score's formula."""
    if not reference or not prediction:
        return 0.0
    length = lcs_length(reference, prediction)
    return scoring.fmeasure(length / len(prediction), length / len(reference))


def lcs_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, a row of the table in each step (Hyyrö, 2004).

    Bit i of `row` is 0 where the table grows between columns i and i + 1, so that the zeros of
    the last row count the length.
    """
    places: dict[str, int] = {}
    for index, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << index
    every = (1 << len(first)) - 1
    row = every
    for token in second:
        matches = row & places.get(token, 0)
        row = ((row + matches) | (row - matches)) & every
    return len(first) - row.bit_count()
