"""How a summary is told: three narrators write on one dialogue as people do, each in his own way.

The banks give sentences in the formal style; a narrator draws an ending (-습니다, -다, -음, -요), a
tense, how he names the speakers (tags, what they are, both), his verbs, and the order and number of
his sentences. What is told stays true: no sentence gets a fact that its bank did not give.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from korean import ENDINGS, background, ended, formal_stem, future, past, with_particle

# What a predicate may be said with instead; None stands for the form with 예정.
VERBS: list[tuple[str, list[str | None]]] = [
    (r"기로 합니다", ["기로 정합니다", "기로 결정합니다", "기로 했습니다", None, None]),
    (r"(으?)려고 합니다", ["고자 합니다", r"\1려 합니다", "고 싶어 합니다"]),
    (r"고 싶어 합니다", ["기를 바랍니다", "기를 원합니다"]),
    (r"자고 합니다", ["자고 제안합니다", "자고 말합니다", "자는 의견을 냅니다"]),
    (r"달라고 합니다", ["달라고 부탁합니다", "달라고 요청합니다", "달라고 청합니다"]),
    (r"겠다고 합니다", ["겠다고 말합니다", "겠다고 답합니다", "겠다는 뜻을 밝힙니다"]),
    (r"다고 합니다", ["다고 말합니다", "다고 전합니다", "다는 이야기를 합니다"]),
    (r"라고 합니다", ["라고 말합니다", "라고 이야기합니다", "라고 알려 줍니다"]),
    (r"고 말합니다", ["고 이야기합니다", "고 전합니다", "고 밝힙니다"]),
    (r"에 대해 이야기합니다", ["에 관해 이야기를 나눕니다", "에 대해 대화합니다"]),
    (r"을 묻습니다", ["을 물어봅니다", "을 문의합니다"]),
    (r"지 묻습니다", ["지 물어봅니다", "지 확인합니다"]),
    (r"에 전화합니다", ["에 전화를 겁니다", "에 연락합니다"]),
    (r"거절합니다", ["받아들이지 않습니다"]),
    (r"권합니다", ["추천합니다", "권유합니다"]),
    (r"알립니다", ["알려 줍니다", "전합니다"]),
    (r"으로 바꿉니다", ["으로 변경합니다"]),
    (r"문의합니다", ["물어봅니다"]),
]
# Sentences that would say something else in the past.
TIMELESS = re.compile(r"(야 합니다|됩니다|있습니다|없습니다)$")
NO_COPULA = ("들입니다",)  # 받아들입니다
CONTRAST = re.compile(r"^(그러나|하지만) ")
LINK = re.compile(r"^(그러나|하지만|결국|그래서|그리고) ")
CLOSED = re.compile(r"^(\S+ 끝에|이번에는|다행히) ")  # says itself that this comes last
CLOSINGS = ["결국 ", "이야기 끝에 ", "대화 끝에 ", "그 뒤 "]
PEERS = re.compile(r"한 (친구|직원|사람)[과와] 다른 \1")
SHAPES = ["apart", "apart", "joined", "joined", "back", "closing"]
LOOKS_BACK = ["이에 앞서 ", "그 전에 ", "앞서 "]
_ROLE = re.compile(r"\{([A-G])(?::(\w+))?\}")
_SUBJECT = re.compile(r"\{([A-G]):[은이]\} ")
_PAIR = re.compile(r"\{[AB]:과\} \{[AB]")

Fill = Callable[[str, dict], str]


@dataclass(frozen=True)
class Narrator:
    """Drawn once a summary."""

    ending: str
    in_past: bool
    naming: str  # tags | nouns | both

    @classmethod
    def draw(cls, rng: random.Random) -> Narrator:
        ending = rng.choices(ENDINGS, [3, 4, 2, 2])[0]
        return cls(ending, rng.random() < 0.4, rng.choices(["tags", "nouns", "both"], [5, 4, 2])[0])


def reworded(sentence: str, rng: random.Random) -> str:
    """The sentence, without its full stop, with another verb where VERBS has one."""
    for pattern, others in VERBS:
        match = re.search(pattern + "$", sentence)
        if not match:
            continue
        if rng.random() < 0.25:
            return sentence
        other, before = rng.choice(others), sentence[: match.start()]
        if other is not None:
            return before + match.expand(other)
        words = before.rsplit(" ", 1)
        return " ".join([*words[:-1], future(words[-1])]) + " 예정입니다"
    return sentence


def predicate(sentence: str, narrator: Narrator) -> tuple[str, str]:
    """(what stands before the predicate's stem, the stem in the narrator's tense)."""
    before, _, word = sentence.rpartition(" ")
    stem = formal_stem(word)
    if narrator.in_past and not TIMELESS.search(sentence):
        stem = past(stem)
    return f"{before} " if before else "", stem


def is_copula(sentence: str) -> bool:
    return sentence.endswith("입니다") and not sentence.endswith(NO_COPULA)


def finished(sentence: str, narrator: Narrator) -> str:
    """The sentence with the narrator's ending and a full stop."""
    if is_copula(sentence):
        noun = sentence.removesuffix("입니다")
        forms = {
            "formal": noun + "입니다",
            "plain": with_particle(noun, "이다"),
            "noun": noun + "임",
            "polite": with_particle(noun, "이에요"),
        }
        return forms[narrator.ending] + "."
    before, stem = predicate(sentence, narrator)
    return before + ended(stem, narrator.ending) + "."


def linked(sentence: str, narrator: Narrator, link: str) -> str:
    """The sentence as the first half of a longer one; `link` is 고, 는데 or 지만."""
    if is_copula(sentence):
        noun = sentence.removesuffix("입니다")
        return (
            with_particle(noun, "이고")
            if link == "고"
            else noun + {"는데": "인데"}.get(link, "이지만")
        )
    before, stem = predicate(sentence, narrator)
    return before + (background(stem) if link == "는데" else stem + link)


def names(
    templates: list[str], roles: dict, facts: dict, narrator: Narrator, rng: random.Random
) -> list[dict]:
    """For each sentence, what its speakers are called. A role that a bank's sentence names itself
    ("집주인 {A}"), and one without a name, keeps the tag."""
    text = " ".join(templates)
    mentioned = list(dict.fromkeys(match[1] for match in _ROLE.finditer(text)))
    named = {}
    for role in mentioned:
        options = roles.get(role, [])
        if options and not any(noun in text for noun in options):
            named[role] = rng.choice(options)
    # "두 친구" first and "다른 친구" later would leave open which one that is.
    told_apart = not _PAIR.search(text) or len(_ROLE.findall(text)) == 2
    if roles.get("peers") and len(mentioned) == 2 and told_apart and narrator.naming == "nouns":
        named = dict(zip(mentioned, roles["peers"], strict=True))
    if narrator.naming == "tags":
        named = {}
    if narrator.naming == "nouns":
        return [named] * len(templates)
    first = {role: f"{noun} {facts[role]}" for role, noun in named.items()}
    told: set[str] = set()
    calls = []
    for template in templates:
        own = [match[1] for match in _ROLE.finditer(template)]
        calls.append(
            {r: first[r] for r in own if r in first and r not in told and own.count(r) < 2}
        )
        told |= set(own)
    return calls


def without_subject(templates: list[str], rng: random.Random) -> list[str]:
    """A later sentence on the same person may leave out who it is."""
    kept, last = [], None
    for template in templates:
        subjects = list(_SUBJECT.finditer(template))
        own = subjects[0] if len(subjects) == 1 and subjects[0].start() == 0 else None
        if own and own[1] == last and rng.random() < 0.8:
            template = template[own.end() :]
        last = own[1] if own else None
        kept.append(template)
    return kept


def arranged(said: list[str], shape: str, narrator: Narrator, rng: random.Random) -> str:
    """One or two sentences made of what is said: the matter, perhaps an exchange, the outcome."""
    *first, outcome = said
    bare, contrast = LINK.sub("", outcome), bool(CONTRAST.match(outcome))
    link = "지만" if contrast else rng.choice(["고", "는데"])
    if shape == "joined":
        head = [finished(s, narrator) for s in first[:-1]]
        return " ".join([*head, linked(first[-1], narrator, link) + ",", finished(bare, narrator)])
    earlier = Narrator(narrator.ending, True, narrator.naming) if shape == "back" else narrator
    opening = finished(first[-1], earlier)
    if len(first) == 2:
        opening = f"{linked(first[0], earlier, '고')}, {opening}"
    if shape == "back":
        return f"{finished(bare, narrator)} {rng.choice(LOOKS_BACK)}{opening}"
    if shape == "closing":
        closing = "" if CLOSED.search(bare) else rng.choice(CLOSINGS)
        return f"{opening} {closing}{finished(bare, narrator)}"
    return f"{opening} {finished(outcome, narrator)}"


def summary(
    templates: list[str],
    shapes: list[str],
    roles: dict,
    facts: dict,
    fill: Fill,
    rng: random.Random,
) -> str:
    """One summary of sentences of a bank, in the order in which things happened, in one of `shapes`
    (of SHAPES)."""
    narrator, shape = Narrator.draw(rng), rng.choice(shapes)
    if CONTRAST.match(templates[-1]) and shape in ("back", "closing"):
        shape = "apart"
    if shape == "back":
        templates = [templates[-1], *templates[:-1]]
    calls = names(templates, roles, facts, narrator, rng)
    templates = without_subject(templates, rng)
    said = [
        reworded(PEERS.sub(r"두 \1", fill(template, facts | call)).rstrip("."), rng)
        for template, call in zip(templates, calls, strict=True)
    ]
    if shape == "back":
        said = [*said[1:], said[0]]
    return arranged(said, shape, narrator, rng) if said[1:] else finished(said[0], narrator)
