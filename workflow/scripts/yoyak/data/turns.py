"""A dialogue that is a list of turns, as nested JSON has it: who says what, and under what name."""

import re
from collections.abc import Callable, Sequence

from yoyak.data.rows import quote

SPEAKERS = ("speaker", "participantID")  # keys of a turn, the first that it has


def turns_said(turns: Sequence[dict], text: Callable[..., str]) -> list[tuple[str, str]]:
    """Speaker and words of each turn in which something is said.

    text: makes a cell of JSON a clean text, or raises ValueError.

    Raises ValueError that names the turn and what it has.
    """
    found = []
    for number, turn in enumerate(turns, start=1):
        place = f"turn {number}"
        cells = next((turn[key] for key in SPEAKERS if key in turn), None), turn.get("utterance")
        speaker, words = (" ".join(text(cell, place, None).split()) for cell in cells)
        if not speaker or "utterance" not in turn:
            raise ValueError(
                f"{place} needs utterance and speaker (or participantID), it has "
                f"{quote(', '.join(map(str, turn)))}"
            )
        if words:
            found.append((speaker, words))
    return found


def number_speakers(said: Sequence[tuple[str, str]]) -> dict[str, str]:
    """A tag for each speaker in the order in which they speak: #Person1#, #Person2#, …"""
    speakers = dict.fromkeys(speaker for speaker, _ in said)
    return {speaker: f"#Person{number}#" for number, speaker in enumerate(speakers, start=1)}


def renamed(text: str, tags: dict[str, str]) -> str:
    """A text in which the speakers are called by their tags, whatever particle follows the name."""
    if not tags:
        return text
    names = "|".join(map(re.escape, sorted(tags, key=len, reverse=True)))
    return re.sub(rf"(?<!\w)(?:{names})(?![0-9A-Za-z_])", lambda name: tags[name[0]], text)
