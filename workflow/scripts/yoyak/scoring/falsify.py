"""Falsify references by rule, leaving every other letter as it is.

The score that a metric still gives them shows what it cannot see. Kinds of change:

speakers   two speakers swapped (Korean: with the particles that their tags take)
numbers    every number, day and time replaced by another one of its kind
negated    one predicate negated, or affirmed where it was negated
all        the former together, as far as one does not undo the other: who did not do what the
           other one did is said rightly, so a negated sentence keeps its speakers and numbers
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

from yoyak.scoring import falsify_english, falsify_korean
from yoyak.scoring.tokenizers import normalise

KINDS = ("speakers", "numbers", "negated", "all")
_RULES: dict[str, ModuleType] = {"ko": falsify_korean, "en": falsify_english}
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!\bMr\.)(?<!\bMs\.)(?<!\bDr\.)(?<!\bMrs\.)\s+|\n")


class Change(NamedTuple):
    """One stretch of a text that was changed; `kind` is "speakers", "numbers" or "negated"."""

    kind: str
    before: str
    after: str


class _Edit(NamedTuple):
    start: int
    end: int
    new: str
    kind: str


@dataclass(frozen=True)
class Falsified:
    """A falsified text, and its changes in order."""

    text: str
    changed: list[Change]


def falsify(text: str, language: str, kind: str) -> Falsified | None:
    """Make a summary false; None where the rule finds nothing to change.

    Args:
        language: "ko" or "en".
        kind: one of `KINDS`.
    """
    characters = _composed(text)
    composed = "".join(characters)
    edits = _FINDERS[kind](composed, _RULES[language])
    if not edits:
        return None
    places = [0]  # of each character of the composed text in the text itself
    for original in _clusters(text):
        places.append(places[-1] + len(original))
    parts, changed, done = [], [], 0
    for edit in sorted(edits):
        if places[edit.start] < done:
            continue  # two rules met in one word: the first has changed it
        start, end = places[edit.start], places[edit.end]
        parts += [text[done:start], edit.new]
        changed.append(Change(edit.kind, text[start:end], edit.new))
        done = end
    return Falsified("".join(parts) + text[done:], changed)


def falsified_texts(
    references: Sequence[Sequence[str]], language: str
) -> dict[str, list[str | None]]:
    """The first reference of each dialogue falsified in every way; None where a rule finds none."""
    texts = [of_dialogue[0] for of_dialogue in references]
    return {
        kind: [made.text if (made := falsify(text, language, kind)) else None for text in texts]
        for kind in KINDS
    }


def _speakers(text: str, rules: ModuleType) -> list[_Edit]:
    return [_Edit(start, end, new, "speakers") for start, end, new in rules.speakers(text)]


def _numbers(text: str, rules: ModuleType) -> list[_Edit]:
    return [_Edit(start, end, new, "numbers") for start, end, new in rules.numbers(text)]


def _negated(text: str, rules: ModuleType) -> list[_Edit]:
    """Negate the last sentence that can be negated, where summaries tell the outcome."""
    for start, end in reversed(sentences(text)):
        edit = rules.negation(text, start, end)
        if edit is not None and edit[2] != text[edit[0] : edit[1]]:
            return [_Edit(edit[0], edit[1], edit[2], "negated")]
    return []


def _all(text: str, rules: ModuleType) -> list[_Edit]:
    others = _speakers(text, rules)
    for edit in _numbers(text, rules):
        if all(edit.end <= other.start or other.end <= edit.start for other in others):
            others.append(edit)
    negated = _negated(text, rules)
    if not negated:
        return others
    at = negated[0].start
    start, end = next(span for span in sentences(text) if span[0] <= at < span[1])
    elsewhere = [edit for edit in others if not start <= edit.start < end]
    if others and not elsewhere:  # one sentence holds it all
        return others
    return elsewhere + negated


_FINDERS = {"speakers": _speakers, "numbers": _numbers, "negated": _negated, "all": _all}


def sentences(text: str) -> list[tuple[int, int]]:
    """Places of the sentences, blanks between them left out."""
    bounds = [0]
    for match in _SENTENCE_END.finditer(text):
        bounds += [match.start(), match.end()]
    bounds.append(len(text))
    return [
        (start, end) for start, end in zip(bounds[::2], bounds[1::2], strict=True) if start < end
    ]


def _clusters(text: str) -> list[str]:
    """Stretches of a text that are one character once composed."""
    clusters: list[str] = []
    for character in text:
        joined = clusters and normalise(clusters[-1] + character)
        if joined and len(joined) == 1 and _combines(character):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _combines(character: str) -> bool:
    return bool(unicodedata.combining(character)) or "\u1160" <= character <= "\u11ff"


def _composed(text: str) -> list[str]:
    """Each cluster as one character, so that places in the text can be found again."""
    return [found if len(found := normalise(one)) == 1 else "?" for one in _clusters(text)]
