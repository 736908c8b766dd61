"""A dialogue that is a list of turns: who says what, and under what name.

Nested JSON has `{"speaker": …, "utterance": …}`, OpenAI's messages `{"role": …, "content": …}`,
ShareGPT `{"from": …, "value": …}`. In a CSV the list stands as JSON text in its cell.
"""

import re
from collections.abc import Sequence

from yoyak.data.cells import parsed_cell, text_cell
from yoyak.data.rows import quote

# Keys of a turn: the first that is filled. A message's `name` tells speakers of one role apart.
SPEAKERS = ("speaker", "participantID", "name", "role", "from")
WORDS = ("utterance", "content", "value")
LIST_AS_TEXT = re.compile(r"""\s*\[\s*(?:\{\s*["']|\]\s*\Z)""")
CALLS = {"tool_calls", "function_call"}  # what a message without words may hold
# What may follow a name of one sign or of digits in a reference: they begin other words, too.
PARTICLES = (
    "에게서|에게|한테서|한테|께서|께|으로|로|이랑|랑|하고|까지|부터|처럼|보다|만|도|"
    "은|는|이|가|을|를|의|과|와|나|야|씨|님"
)
NEEDED = "speaker and utterance, role and content, or from and value"


def dialogue_cell(value: object, numbered: bool) -> tuple[str | None, dict[str, str]]:
    """A dialogue's text, of a list of turns one turn a line; and the tag of each speaker.

    numbered: whether speakers get tags, in the order in which they speak: #Person1#, #Person2#, …

    Raises ValueError where it is neither a text nor a list of turns.
    """
    if isinstance(value, str) and LIST_AS_TEXT.match(value):
        value = parsed_cell(value, "dialogue is a list of turns")
    if isinstance(value, str | None):
        return value, {}
    if not isinstance(value, list) or not all(isinstance(turn, dict) for turn in value):
        raise ValueError(f"dialogue must be text or a list of turns, found {quote(value)}")
    turns = [_turn(turn, f"turn {number}") for number, turn in enumerate(value, start=1)]
    turns = [(speaker, words) for speaker, words in turns if words]
    speakers = dict.fromkeys(speaker for speaker, _ in turns) if numbered else {}
    tags = {speaker: f"#Person{number}#" for number, speaker in enumerate(speakers, start=1)}
    return "\n".join(f"{tags.get(speaker, speaker)}: {words}" for speaker, words in turns), tags


def _turn(turn: dict, place: str) -> tuple[str, str]:
    """Who says what."""
    speaker = next((turn[key] for key in SPEAKERS if turn.get(key) not in (None, "")), None)
    said = next((turn[key] for key in WORDS if turn.get(key) is not None), None)
    others = {key for key, cell in turn.items() if cell and key not in SPEAKERS}
    if isinstance(said, list):
        said = " ".join(_part(part, place) for part in said)
    speaker, words = (" ".join(text_cell(cell, place, None).split()) for cell in (speaker, said))
    lost = said is None and others and not others & CALLS  # a table gives each turn all keys
    if not speaker or lost or not any(key in turn for key in WORDS):
        has = quote(", ".join(key for key, cell in turn.items() if cell is not None))
        raise ValueError(f"{place} needs {NEEDED}; it has {has}")
    return speaker, words


def _part(part: object, place: str) -> str:
    """The text of one part of a message; images and sounds are refused."""
    text = part.get("text") if isinstance(part, dict) else part
    if not isinstance(text, str):
        raise ValueError(f"{place} has a part without text: {quote(part)}; take it out")
    return text


def with_own_names(text: str, names: Sequence[str]) -> str:
    """A text with the speakers' own names for their tags; names[0] is #Person1#'s."""
    own = {f"#Person{number}#": name for number, name in enumerate(names, start=1)}
    return re.sub(r"#Person[0-9]+#", lambda tag: own.get(tag[0], tag[0]), text)


def renamed(text: str, tags: dict[str, str]) -> str:
    """A text in which the speakers are called by their tags, whatever particle follows the name."""
    if not tags:
        return text

    def pattern(name: str) -> str:
        name, short = re.escape(name), len(name) == 1 or name.isdigit()
        return rf"(?<!\d[.,:]){name}(?=(?:{PARTICLES})*(?!\w))(?![.,:]\d)" if short else name

    names = "|".join(map(pattern, sorted(tags, key=len, reverse=True)))
    return re.sub(rf"(?<!\w)(?:{names})(?![0-9A-Za-z_])", lambda name: tags[name[0]], text)
