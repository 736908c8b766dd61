"""Diagnostics that ROUGE does not show: inventions, wrong speakers, loops, copying, length,
language.

Every figure is one number per dialogue, or None where it is undefined (no number, no bigram, …);
the
figure of a run, or of any other list of texts, is the mean over the dialogues that have one.
"""

import unicodedata
from collections.abc import Sequence

from yoyak.data.dialogues import Dialogue
from yoyak.scoring.predictions import Prediction
from yoyak.scoring.quantities import unfounded
from yoyak.scoring.reader import Reader
from yoyak.scoring.tokenizers import TAG

REPEATED_N = 3
RATES = {  # figure of a dialogue → figure of a run, the mean of the former
    "unfounded_number": "unfounded_number_rate",
    "own_words": "own_words_share",
    "unknown_words": "unknown_words_rate",
    "repeated_ngrams": "repeated_ngram_rate",
    "novel_bigrams": "novel_bigram_rate",
    "length_ratio": "length_ratio",
    "empty": "empty_rate",
    "length_limit": "length_limit_rate",
    "hangul_share": "hangul_share",
}


def diagnose(
    text: str, dialogue: str, references: Sequence[str], reader: Reader, finish: str = "stop"
) -> dict[str, float | None]:
    """Figures for one text that stands in for a summary of the dialogue.

    Args:
        references: its length is compared with theirs; empty for the only human summary.
        finish: "length" if the model was cut off at its limit.
    """
    tokens = reader.tokenize(text)
    found = unfounded(text, dialogue, reader.language)
    return {
        "unfounded_number": None if found is None else float(found),
        "own_words": reader.own_words(text, dialogue),
        "unknown_words": reader.unknown_words(text, dialogue),
        "repeated_ngrams": repeated_share(tokens, REPEATED_N),
        "novel_bigrams": novel_share(tokens, reader.tokenize(dialogue), 2),
        "length_ratio": length_ratio(text, references),
        "empty": float(not text.strip()),
        "length_limit": float(finish == "length"),
        "hangul_share": hangul_share(text),
    }


def diagnose_all(
    texts: Sequence[str | None], dialogues: Sequence[Dialogue], reader: Reader
) -> dict[str, float | int | None]:
    """Figures for texts not written by a model, such as a floor's; one per dialogue, in data order.

    A dialogue without a text (None) is left out.
    """
    pairs = zip(texts, dialogues, strict=True)
    return means(
        [
            diagnose(text, dialogue.dialogue, dialogue.summaries, reader)
            for text, dialogue in pairs
            if text is not None
        ]
    )


def diagnose_people(dialogues: Sequence[Dialogue], reader: Reader) -> dict[str, float | int | None]:
    """Figures for the first references; their lengths are compared with the other references."""
    return means([diagnose(d.summary, d.dialogue, d.summaries[1:], reader) for d in dialogues])


def means(rows: Sequence[dict]) -> dict[str, float | int | None]:
    """Means of the figures of several texts; n counts the dialogues."""
    figures: dict[str, float | int | None] = {"n": len(rows)}
    for key, rate in RATES.items():
        figures[rate] = _mean([row[key] for row in rows if row[key] is not None])
    return figures


def summarise(
    rows: Sequence[dict], predictions: Sequence[Prediction]
) -> dict[str, float | int | None]:
    """Figures of a run from those of its dialogues; prompts_shortened counts truncated prompts."""
    return means(rows) | {"prompts_shortened": sum(row.dialogue_shortened for row in predictions)}


def unchanged_rate(after: Sequence[Prediction], before: Sequence[Prediction]) -> float:
    """Share of the dialogues of `after` whose prediction is identical to that in `before`."""
    texts = {row.fname: row.prediction.split() for row in before}
    return sum(texts.get(row.fname) == row.prediction.split() for row in after) / len(after)


def length_ratio(text: str, references: Sequence[str]) -> float | None:
    """Non-blank characters over the references' mean; a tag counts as it is written."""
    mean = _mean([float(_visible(reference)) for reference in references])
    return _visible(text) / mean if mean else None


def repeated_share(tokens: Sequence[str], n: int) -> float | None:
    """Share of the n-grams that occur earlier in the same text: 0 if none repeats."""
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


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _visible(text: str) -> int:
    return sum(not character.isspace() for character in text)


def _ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
