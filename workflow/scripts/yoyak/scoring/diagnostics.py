"""What a ROUGE score does not tell: length, repetition, copying, language, speakers.

Every figure is one number a dialogue, or None where it is undefined (no bigram, no tag, …); the
run's figure is the mean over the dialogues that have one.
"""

import unicodedata
from collections.abc import Callable, Sequence

from yoyak.scoring.predictions import Prediction
from yoyak.scoring.tokenizers import SPEAKER_TAG, TAG

REPEATED_N = 3
RATES = {  # figure of a dialogue → figure of a run, the mean of the former
    "length_ratio": "length_ratio",
    "empty": "empty_rate",
    "length_limit": "length_limit_rate",
    "repeated_ngrams": "repeated_ngram_rate",
    "hangul_share": "hangul_share",
    "tag_precision": "tag_precision",
    "tag_recall": "tag_recall",
    "novel_bigrams": "novel_bigram_rate",
}


def diagnose(
    prediction: Prediction,
    references: Sequence[str],
    dialogue: str,
    tokenize: Callable[[str], list[str]],
) -> dict[str, float | None]:
    """Figures of one dialogue; `tokenize` is the primary metric's, so that n-grams are alike."""
    text = prediction.prediction
    tokens = tokenize(text)
    precision, recall = tag_agreement(text, references)
    return {
        "length_ratio": length_ratio(text, references),
        "empty": float(not text.strip()),
        "length_limit": float(prediction.finish == "length"),
        "repeated_ngrams": repeated_share(tokens, REPEATED_N),
        "hangul_share": hangul_share(text),
        "tag_precision": precision,
        "tag_recall": recall,
        "novel_bigrams": novel_share(tokens, tokenize(dialogue), 2),
    }


def summarise(
    rows: Sequence[dict], predictions: Sequence[Prediction]
) -> dict[str, float | int | None]:
    """Figures of a run from those of its dialogues; prompts_shortened counts dialogues."""
    figures: dict[str, float | int | None] = {"n": len(rows)}
    for key, rate in RATES.items():
        defined = [row[key] for row in rows if row[key] is not None]
        figures[rate] = sum(defined) / len(defined) if defined else None
    figures["prompts_shortened"] = sum(row.dialogue_shortened for row in predictions)
    return figures


def unchanged_rate(after: Sequence[Prediction], before: Sequence[Prediction]) -> float:
    """Share of the dialogues of `after` whose prediction is the very text that it was `before`."""
    texts = {row.fname: row.prediction.split() for row in before}
    return sum(texts.get(row.fname) == row.prediction.split() for row in after) / len(after)


def length_ratio(text: str, references: Sequence[str]) -> float | None:
    """Characters but blanks, over those of the references' mean; a tag counts as it is written."""
    mean = sum(map(_visible, references)) / len(references)
    return _visible(text) / mean if mean else None


def repeated_share(tokens: Sequence[str], n: int) -> float | None:
    """Share of the n-grams that occurred before in the same text: 0 if none repeats."""
    ngrams = _ngrams(tokens, n)
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else None


def novel_share(tokens: Sequence[str], source: Sequence[str], n: int) -> float | None:
    """Share of the distinct n-grams that the source lacks: 0 is copying, 1 is all in new words."""
    ngrams = set(_ngrams(tokens, n))
    return len(ngrams - set(_ngrams(source, n))) / len(ngrams) if ngrams else None


def hangul_share(text: str) -> float | None:
    """Share of Hangul among the letters outside tags: low where a model leaves Korean."""
    letters = [character for character in TAG.sub("", text) if character.isalpha()]
    if not letters:
        return None
    return sum("HANGUL" in unicodedata.name(letter, "") for letter in letters) / len(letters)


def tag_agreement(text: str, references: Sequence[str]) -> tuple[float | None, float | None]:
    """Precision and recall of the distinct speaker tags, averaged over the references.

    Precision is undefined for a text without tags, recall for references without.
    """
    named = set(SPEAKER_TAG.findall(text))
    wanted = [set(SPEAKER_TAG.findall(reference)) for reference in references]
    precisions = [len(named & tags) / len(named) for tags in wanted if named]
    recalls = [len(named & tags) / len(tags) for tags in wanted if tags]
    return _mean(precisions), _mean(recalls)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _visible(text: str) -> int:
    return sum(not character.isspace() for character in text)


def _ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
