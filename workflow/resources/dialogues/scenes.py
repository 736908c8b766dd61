"""Situations, and how one dialogue is put together from the bank of a situation.

A bank (situations/*.yaml) holds a list of situations. Each has

  key, topic        an identifier and the row's `topic`
  group             `seen` (default) or `unseen` (dev and test only)
  register          which greetings and farewells of common.yaml fit
  slots             facts: a list of values, or `@bank` for a bank of common.yaml; a key such as
                    `item, price` draws its values (`a / b`) together
  open              alternative openings, separated by blank lines
  roles             what a summary may call the speakers instead of a tag; `peers` for two alike
  middle            exchanges that may be left out, separated by blank lines; a line `= …` is what
                    a summary says of the exchange
  gist              one line an alternative: the summary's sentence on what the dialogue is about
  outcomes          name -> turns (alternatives), result (summary sentences on the outcome),
                    whole (summaries in one piece), slots (facts of this outcome only)

Turns are `A: text`, with A, B … roles. Tags #Person1#, #Person2# … follow the order of speaking.
In a text, `[a|b]` is a choice (in an exchange all choices of one length go alike), `{slot}` a fact
or a role, and `{slot:은}` adds the right particle.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from korean import with_particle
from telling import SHAPES, summary

BANKS = Path(__file__).resolve().parent / "situations"
MAX_TURNS = 30
GREETING_SHARE, FAREWELL_SHARE, MIDDLE_SHARE, CHATTER_SHARE = 0.25, 0.4, 0.6, 0.04
NOTED_SHARE = 0.95  # of the summaries that speak of the noted exchange

_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)(?::(\w+))?\}")


@dataclass(frozen=True)
class Dialogue:
    """One assembled dialogue, before noise; `summaries` are as different as the bank allows."""

    situation: str
    topic: str
    group: str
    outcome: str
    turns: tuple[str, ...]
    summaries: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]  # (slot, value), roles left out

    @property
    def text(self) -> str:
        return "\n".join(self.turns)


@cache
def blocks(text: str) -> tuple[str, ...]:
    """The alternatives of a block of turns: pieces between blank lines."""
    return tuple(piece.strip() for piece in re.split(r"\n\s*\n", text) if piece.strip())


def lines(text: str) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def load_common(folder: Path = BANKS) -> dict:
    return yaml.safe_load((folder / "common.yaml").read_text(encoding="utf-8"))


def load_situations(folder: Path = BANKS) -> list[dict]:
    """Every situation of every bank, in the order of file names.

    Raises ValueError when two share a key or one has fewer than two outcomes.
    """
    situations = []
    for path in sorted(folder.glob("*.yaml")):
        if path.name != "common.yaml":
            situations += yaml.safe_load(path.read_text(encoding="utf-8"))
    keys = [situation["key"] for situation in situations]
    if len(set(keys)) != len(keys):
        raise ValueError(f"situations: two share a key: {sorted(keys)}")
    for situation in situations:
        situation.setdefault("group", "seen")
        if len(situation["outcomes"]) < 2:
            raise ValueError(f"situation {situation['key']}: needs at least two outcomes")
    return situations


def draw_facts(slots: dict, common: dict, rng: random.Random, used: dict | None = None) -> dict:
    """A value for every slot; no two slots on the same common bank get the same value."""
    facts, used = {}, {} if used is None else used
    for names, values in slots.items():
        if isinstance(values, str):  # "@bank"
            bank = values[1:]
            free = [value for value in common[bank] if value not in used.setdefault(bank, set())]
            values = [rng.choice(free)]
            used[bank].add(values[0])
        names = [name.strip() for name in names.split(",")]
        drawn = str(rng.choice(values))
        parts = [part.strip() for part in drawn.split(" / ")] if len(names) > 1 else [drawn]
        facts.update(zip(names, parts, strict=True))
    return facts


def choose(text: str, rng: random.Random) -> str:
    """Resolve every `[a|b]`, innermost first."""
    while _CHOICE.search(text):
        text = _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), text, count=1)
    return text


def fill(text: str, facts: dict) -> str:
    """Put facts and speaker tags in, with particles. Raises KeyError for an unknown slot."""

    def put(match: re.Match) -> str:
        word = facts[match[1]]
        return with_particle(word, match[2]) if match[2] else word

    # Facts may name other facts ("{name} 씨"), so fill until nothing is left.
    while _SLOT.search(text):
        text = _SLOT.sub(put, text)
    return text


def first_role(block: str) -> str:
    return block.split(":", 1)[0]


def last_role(block: str) -> str:
    return first_role(block.splitlines()[-1])


def follow(text: str, role: str, rng: random.Random) -> list[str]:
    """One alternative of a bank spoken by X and Y (X is not `role`) or by fixed roles, or none."""
    other = "A" if role != "A" else "B"
    return (
        [rng.choice(blocks(text)).replace("X:", f"{other}:").replace("Y:", f"{role}:")]
        if text
        else []
    )


def small_talk(common: dict, register: str, role: str, rng: random.Random) -> list[str]:
    """Three to seven exchanges that end before `role` opens the matter."""
    pool = blocks(common["chatter"]["casual" if register == "casual" else "polite"])
    other = "A" if role != "A" else "B"
    chosen = rng.sample(pool, rng.randint(3, len(pool)))
    return [piece.replace("X:", f"{role}:").replace("Y:", f"{other}:") for piece in chosen]


def settled(block: str, rng: random.Random) -> str:
    """An exchange with its choices made: all choices of one length take the same place."""
    place = rng.random()

    def pick(match: re.Match) -> str:
        options = match[1].split("|")
        return options[int(place * len(options))]

    return _CHOICE.sub(pick, block)


def exchanges(situation: dict, before: str, rng: random.Random) -> tuple[list[str], list[str]]:
    """(blocks of turns, what a summary may say of them) of some exchanges, in any order; `before`
    is the block that they follow."""
    parts, said = [before], []
    pool = blocks(situation.get("middle", ""))
    for block in rng.sample(pool, len(pool)):
        # An exchange begun by whoever has just spoken would read like two turns glued together.
        if rng.random() < MIDDLE_SHARE and first_role(block) != last_role(parts[-1]):
            turns, _, told = settled(block, rng).partition("\n= ")
            parts.append(turns)
            said += [told] if told else []
    return parts[1:], said


def script(
    situation: dict, outcome: dict, common: dict, rng: random.Random
) -> tuple[list[list[str]], list[str]]:
    """[role, text] of every turn, choices still open, neighbours of one role joined; and what a
    summary may say of the exchanges."""
    register = situation["register"]
    manners = common["registers"][register]
    opening = rng.choice(blocks(situation["open"]))
    opener = first_role(opening)
    parts = []
    if rng.random() < GREETING_SHARE:
        parts += follow(manners["greetings"], opener, rng)
    if register in ("service", "work", "casual") and rng.random() < CHATTER_SHARE:
        parts += small_talk(common, register, opener, rng)
    parts.append(opening)
    middle, said = exchanges(situation, opening, rng)
    parts += middle
    endings = blocks(outcome["turns"])
    fitting = [block for block in endings if first_role(block) != last_role(parts[-1])]
    parts.append(rng.choice(fitting or endings))
    if rng.random() < FAREWELL_SHARE:
        parts += follow(manners["farewells"], last_role(parts[-1]), rng)
    turns: list[list[str]] = []
    for line in "\n".join(parts).splitlines():
        role, text = (piece.strip() for piece in line.split(":", 1))
        if turns and turns[-1][0] == role:
            turns[-1][1] += " " + text
        else:
            turns.append([role, text])
    return turns[:MAX_TURNS], said


def summarise(
    situation: dict, outcome: dict, said: list[str], facts: dict, rng: random.Random
) -> list[str]:
    """Three summaries that begin with different sentences of the bank; on one exchange, the same
    for all, nearly all say something."""
    gists, results = lines(situation["gist"]), lines(outcome["result"])
    wholes = lines(outcome.get("whole", ""))
    rng.shuffle(gists)
    results = [rng.choice(results) for _ in gists]
    noted = rng.sample(said, min(len(said), 1))
    found: list[tuple[list[str], list[str]]] = []
    for gist, result in zip(gists, results, strict=False):
        told = noted if rng.random() < NOTED_SHARE else []
        found.append(([gist, *told, result], SHAPES))
    if wholes:
        found[2:] = [([rng.choice(wholes), *noted], ["apart", "joined"])]
    rng.shuffle(found)
    roles = situation.get("roles", {})
    return [summary(texts, shapes, roles, facts, fill, rng) for texts, shapes in found[:3]]


def compose(situation: dict, common: dict, rng: random.Random) -> Dialogue:
    """One dialogue of the situation with its summaries, drawn from `rng` alone."""
    name = rng.choice(sorted(situation["outcomes"]))
    outcome = situation["outcomes"][name]
    used: dict = {}
    facts = draw_facts(situation.get("slots", {}), common, rng, used)
    facts |= draw_facts(outcome.get("slots", {}), common, rng, used)
    told = tuple(facts.items())
    turns, said = script(situation, outcome, common, rng)
    for role, _ in turns:
        facts.setdefault(role, f"#Person{sum(key in 'ABCDEFG' for key in facts) + 1}#")
    spoken = tuple(f"{facts[role]}: {fill(choose(text, rng), facts)}" for role, text in turns)
    return Dialogue(
        situation["key"],
        situation["topic"],
        situation["group"],
        name,
        spoken,
        tuple(summarise(situation, outcome, said, facts, rng)),
        told,
    )
