"""Exercises on a dialogue: a request, the dialogue and an answer that is a piece of it.

Go on, quote or report a turn, say who said something, fill a word back in, find what follows a
word, collect the facts. None of them asks for a summary or is given one.
"""

from __future__ import annotations

import random
import re

from korean import with_particle

REQUESTS = {
    "continue": [
        "다음 대화를 이어서 써주세요",
        "이어질 말을 써주세요",
        "대화의 다음 말은 무엇인가요?",
    ],
    "quote": ["다음 대화에서 {tag}의 {which} 말을 옮겨주세요", "{tag}의 {which} 말은 무엇인가요?"],
    "report": ["다음 대화에서 {which} 나온 말을 전해주세요", "누가 {which} 무슨 말을 하나요?"],
    "who": ['다음 대화에서 누가 이렇게 말하나요? "{said}"', '"{said}" 누구의 말인가요?'],
    "blank": ["다음 대화의 빈칸을 채워주세요", "빈칸에 들어갈 말은 무엇인가요?"],
    "find": [
        '다음 대화에서 "{word}" 뒤에 오는 말을 써주세요',
        '"{word}" 다음 말을 대화에서 찾아주세요',
    ],
    "facts": ["다음 대화에 나오는 중요한 말을 차례대로 적어주세요", "중요한 말만 골라 적어주세요"],
    "facts_by_speaker": [
        "누가 무엇을 말하는지 적어주세요",
        "다음 대화에서 말한 것을 사람마다 적어주세요",
    ],
    "kind": ["다음 대화에 나오는 말 중 {kind}만 모두 적어주세요", "{kind}에 맞는 말은 무엇인가요?"],
    "told": ["다음 이야기를 처음부터 다시 들려주세요", "이야기를 그대로 전해주세요"],
    "about": ["{who}에 대한 이야기를 찾아주세요", "{who} 이야기만 옮겨주세요"],
}
DIALOGUE_KINDS = [
    "continue",
    "quote",
    "report",
    "who",
    "blank",
    "find",
    "facts",
    "facts",
    "facts_by_speaker",
    "facts_by_speaker",
    "kind",
    "kind",
]
STORY_KINDS = ["told", "told", "about", "about", "blank", "continue", "find"]
# Banks of common.yaml by what they are called in a request.
FACT_KINDS = {
    "day": "날",
    "time": "시간",
    "price": "값",
    "name": "사람 이름",
    "town": "지역",
    "meeting_place": "장소",
    "period": "기간",
    "people": "사람 수",
}

Turn = tuple[str, str]


def mentions(turns: list[Turn], facts: list[str]) -> list[tuple[int, int, str]]:
    """(turn, place, fact) of the first mention of every fact that is spoken, in order."""
    found = []
    for fact in dict.fromkeys(facts):
        for number, (_, said) in enumerate(turns):
            place = said.find(fact)
            if place >= 0:
                found.append((number, place, fact))
                break
    return sorted(found)


def blank(text: str, rng: random.Random) -> tuple[str, str]:
    """The text with one word that occurs elsewhere too put out, and the word."""
    words = sorted({w for w in re.findall(r"[가-힣0-9]{2,}", text) if text.count(w) > 1})
    word = rng.choice(words or text.split())
    place = rng.choice([m.start() for m in re.finditer(re.escape(word), text)])
    return text[:place] + "____" + text[place + len(word) :], word


def ask(kind: str, rng: random.Random, /, **words: str) -> str:
    return rng.choice(REQUESTS[kind]).format(**words)


def common_exercise(kind: str, turns: list[Turn], rng: random.Random) -> tuple[str, str, str]:
    """The exercises that suit dialogues and stories alike."""
    text = show(turns)
    if kind == "continue":
        cut = rng.randrange(1, len(turns))
        return ask(kind, rng), show(turns[:cut]), show(turns[cut : cut + rng.randint(1, 3)])
    if kind == "blank":
        shown, word = blank(text, rng)
        return ask(kind, rng), shown, word
    words = text.split()
    at = rng.randrange(len(words) - 3)
    answer = " ".join(words[at + 1 : at + 1 + rng.randint(1, 4)])
    return ask("find", rng, word=words[at]), text, answer


def show(turns: list[Turn]) -> str:
    return "\n".join(f"{tag}: {said}" for tag, said in turns)


def dialogue_exercise(
    turns: list[Turn], facts: list[tuple[str, str]], banks: dict[str, str], rng: random.Random
) -> tuple[str, str, str]:
    """(request, dialogue shown, answer); `facts` are (slot, value), `banks` slot -> bank."""
    kind, text = rng.choice(DIALOGUE_KINDS), show(turns)
    found = mentions(turns, [value for _, value in facts])
    if kind == "facts" and found:
        return ask(kind, rng), text, ", ".join(fact for _, _, fact in found)
    if kind == "facts_by_speaker" and found:
        said = {}
        for number, _, fact in found:
            said.setdefault(turns[number][0], []).append(fact)
        return ask(kind, rng), text, "\n".join(f"{t}: {', '.join(f)}" for t, f in said.items())
    if kind == "kind":
        known = sorted({banks[slot] for slot, _ in facts if banks.get(slot) in FACT_KINDS})
        if known:
            bank = rng.choice(known)
            own = mentions(turns, [value for slot, value in facts if banks.get(slot) == bank])
            answer = ", ".join(fact for _, _, fact in own)
            if answer:
                return ask(kind, rng, kind=FACT_KINDS[bank]), text, answer
    if kind == "quote":
        tag, which = rng.choice(turns)[0], rng.choice(["첫", "마지막"])
        own = [said for speaker, said in turns if speaker == tag]
        return ask(kind, rng, tag=tag, which=which), text, own[0 if which == "첫" else -1]
    if kind == "who":
        tag, said = rng.choice(turns)
        said = rng.choice(found)[2] if found and rng.random() < 0.5 else said
        tag = next(speaker for speaker, words in turns if said in words)
        return ask(kind, rng, said=said), text, tag
    if kind == "report":
        which, at = rng.choice([("처음", 0), ("마지막에", -1)])
        tag, said = turns[at]
        verb = rng.choice(["라고 말합니다.", "라고 이야기합니다."])
        return ask(kind, rng, which=which), text, f'{with_particle(tag, "은")} "{said}"{verb}'
    return common_exercise(kind if kind in ("continue", "blank") else "find", turns, rng)


def story_exercise(turns: list[Turn], rng: random.Random) -> tuple[str, str, str]:
    """(request, story shown, answer); see `stories.story`."""
    kind = rng.choice(STORY_KINDS)
    told = " ".join(said for _, said in turns)
    if kind == "told":
        return ask(kind, rng), show(turns), told
    if kind == "about":
        sentences = [s for s in re.split(r"(?<=\.) ", told) if "합니다" in s or "니다." in s]
        who = re.match(
            r"(?:그래서 |그러나 |하지만 |결국 |그리고 |대신 )?(#Person\d#|[가-힣]{2})",
            rng.choice(sentences),
        )[1]
        return (
            ask(kind, rng, who=who),
            show(turns),
            " ".join(s for s in sentences if who in s.split(" ", 2)[0] + s.split(" ", 2)[1]),
        )
    return common_exercise(kind, turns, rng)
