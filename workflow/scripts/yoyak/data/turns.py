"""A dialogue that is a list of turns, as nested JSON has it: who says what, and under what name."""

import re
from collections.abc import Sequence

from yoyak.data.cells import text_cell
from yoyak.data.rows import quote

SPEAKERS = ("speaker", "participantID")  # keys of a turn, the first that it has


def dialogue_cell(value: object, numbered: bool) -> tuple[str | None, dict[str, str]]:
    """A dialogue's text, of a list of turns one turn a line; and the tag of each speaker.

    numbered: whether speakers get tags, in the order in which they speak: #Person1#, #Person2#, …

    Raises ValueError where it is neither a text nor a list of turns.
    """
    if isinstance(value, str | None):
        return value, {}
    if not isinstance(value, list) or not all(isinstance(turn, dict) for turn in value):
        raise ValueError(f"dialogue must be text, found {quote(value)}")
    turns = [_turn(turn, f"turn {number}") for number, turn in enumerate(value, start=1)]
    turns = [(speaker, words) for speaker, words in turns if words]
    speakers = dict.fromkeys(speaker for speaker, _ in turns) if numbered else {}
    tags = {speaker: f"#Person{number}#" for number, speaker in enumerate(speakers, start=1)}
    return "\n".join(f"{tags.get(speaker, speaker)}: {words}" for speaker, words in turns), tags


def _turn(turn: dict, place: str) -> tuple[str, str]:
    """Who says what."""
    speaker = next((turn[key] for key in SPEAKERS if key in turn), None)
    speaker, words = (
        " ".join(text_cell(cell, place, None).split()) for cell in (speaker, turn.get("utterance"))
    )
    if not speaker or "utterance" not in turn:
        has = quote(", ".join(map(str, turn)))
        raise ValueError(f"{place} needs utterance and speaker (or participantID), it has {has}")
    return speaker, words


def with_own_names(text: str, names: Sequence[str]) -> str:
    """A text with the speakers' own names for their tags; names[0] is #Person1#'s."""
    own = {f"#Person{number}#": name for number, name in enumerate(names, start=1)}
    return re.sub(r"#Person[0-9]+#", lambda tag: own.get(tag[0], tag[0]), text)


def renamed(text: str, tags: dict[str, str]) -> str:
    """A text in which the speakers are called by their tags, whatever particle follows the name."""
    if not tags:
        return text
    names = "|".join(map(re.escape, sorted(tags, key=len, reverse=True)))
    return re.sub(rf"(?<!\w)(?:{names})(?![0-9A-Za-z_])", lambda name: tags[name[0]], text)
