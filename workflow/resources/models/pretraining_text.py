"""The text that the tiny models are pretrained on: fresh dialogues, and exercises on them.

Dialogues come from the maker of the embedded dialogues, with seeds of their own, of the situations
seen in training only; one that equals a dialogue of dev.csv or test.csv is dropped. In half of
them some facts are swapped for facts of other situations ("I lost my dentist"), so that a model has
to read rather than to know. No summary is ever read: not those of the CSV files, and those that the
maker draws along with a dialogue are thrown away.
"""

from __future__ import annotations

import copy
import csv
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

DIALOGUES = Path(__file__).resolve().parent.parent / "dialogues"
sys.path.insert(0, str(DIALOGUES))

from exercises import dialogue_exercise, show, story_exercise  # noqa: E402
from make_dialogues import plain  # noqa: E402
from scenes import Dialogue, compose, load_common, load_situations  # noqa: E402
from stories import story  # noqa: E402

STORY_SHARE, PLAIN_SHARE, CHAT_SHARE = 0.2, 0.25, 0.5  # chat: of what is not plain
SWAPPED_SHARE, SWAPS = 0.5, 12

SYSTEMS = [
    "당신은 대화를 잘 아는 전문가입니다.",
    "당신은 친절한 도우미입니다.",
    "",
    "당신은 대화를 이어 쓰는 작가입니다.",
    "질문에 짧게 답하세요.",
    "당신은 대화를 꼼꼼히 읽는 전문가입니다.",
]
_NOT_A_NOUN = re.compile(r"(요|서|려고|[깔닫하이신꾸])$")


def forbidden() -> set[str]:
    """Every dialogue of dev.csv and test.csv, in the form that the maker compares."""
    texts = set()
    for split in ("dev", "test"):
        with open(DIALOGUES / f"{split}.csv", encoding="utf-8", newline="") as handle:
            texts |= {plain(row["dialogue"]) for row in csv.DictReader(handle)}
    return texts


def slot_groups(situation: dict) -> list[dict]:
    """The `slots` of a situation and of each of its outcomes."""
    return [
        place["slots"]
        for place in [situation, *situation["outcomes"].values()]
        if place.get("slots")
    ]


def nouns(values: object) -> bool:
    return isinstance(values, list) and not any(_NOT_A_NOUN.search(str(v)) for v in values)


def noun_facts(situations: list[dict]) -> list[str]:
    """Facts of all situations that are nouns and so can stand in one another's place."""
    found = {
        str(value)
        for situation in situations
        for slots in slot_groups(situation)
        for names, values in slots.items()
        if "," not in names and nouns(values)
        for value in values
    }
    return sorted(found)


def with_swaps(situation: dict, pool: list[str], rng: random.Random) -> dict:
    """A copy whose noun facts may come from any seen situation."""
    situation = copy.deepcopy(situation)
    for slots in slot_groups(situation):
        for names, values in slots.items():
            if "," not in names and nouns(values):
                slots[names] = rng.sample(pool, SWAPS)
    return situation


def fresh_dialogues(seed: str) -> Iterator[tuple[Dialogue, dict[str, str]]]:
    """Endless (dialogue, slot -> bank of common.yaml) of seen situations, none of dev or test."""
    common, banned = load_common(), forbidden()
    situations = [s for s in load_situations() if s["group"] == "seen"]
    pool = noun_facts(situations)
    rng = random.Random(f"pretraining/{seed}")
    while True:
        situation = rng.choice(situations)
        if rng.random() < SWAPPED_SHARE:
            situation = with_swaps(situation, pool, rng)
        banks = {
            name: values[1:]
            for slots in slot_groups(situation)
            for name, values in slots.items()
            if isinstance(values, str)
        }
        dialogue = compose(situation, common, rng)
        if plain(dialogue.text) not in banned and len(dialogue.turns) > 1:
            yield dialogue, banks


def chat_messages(request: str, shown: str, answer: str, rng: random.Random) -> list[dict]:
    system = rng.choice(SYSTEMS)
    messages = [{"role": "system", "content": system}] if system else []
    return [
        *messages,
        {"role": "user", "content": f"{request}:\n{shown}"},
        {"role": "assistant", "content": answer},
    ]


def instruction_text(request: str, shown: str, answer: str) -> str:
    end = "" if request.endswith("?") else "."
    return f"### Instruction:\n{request}{end}\n\n### Input:\n{shown}\n\n### Response:\n{answer}"


def documents(seed: str) -> Iterator[str | list[dict]]:
    """Endless pretraining documents: a text, or the messages of a chat."""
    rng = random.Random(f"exercises/{seed}")
    common = load_common()
    things = noun_facts([s for s in load_situations() if s["group"] == "seen"])
    facts = {
        "thing": things,
        "place": common["meeting_place"] + common["town"],
        **{kind: common[kind] for kind in ("day", "time", "price", "name")},
    }
    for dialogue, banks in fresh_dialogues(seed):
        if rng.random() < STORY_SHARE:
            turns = [tuple(turn) for turn in story(facts, rng)]
            task = story_exercise(turns, rng)
        else:
            turns = [tuple(turn.split(": ", 1)) for turn in dialogue.turns]
            task = dialogue_exercise(turns, list(dialogue.facts), banks, rng)
        if rng.random() < PLAIN_SHARE:
            yield show(turns)
        elif rng.random() < CHAT_SHARE:
            yield chat_messages(*task, rng)
        else:
            yield instruction_text(*task)
