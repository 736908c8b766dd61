"""Dialogues of a story game: people take turns in telling what somebody does, in the third person.

They give the tiny models practice in narrated Korean (…합니다), in particles behind names and tags,
and in carrying facts along. The facts come from the banks of seen situations, put together at
random; no sentence is taken from a summary and no story tells of a dialogue.
"""

from __future__ import annotations

import random

from korean import final_consonant, with_particle

# stem, present, the form before 달라고 ("to ask somebody to …")
VERBS = [
    line.split()
    for line in """
사 삽니다 사|받 받습니다 받아|바꾸 바꿉니다 바꿔|찾 찾습니다 찾아|고치 고칩니다 고쳐
보내 보냅니다 보내|빌리 빌립니다 빌려|팔 팝니다 팔아|만들 만듭니다 만들어|버리 버립니다 버려
가져오 가져옵니다 가져와|챙기 챙깁니다 챙겨|맡 맡습니다 맡아|준비하 준비합니다 준비해
예약하 예약합니다 예약해|신청하 신청합니다 신청해|취소하 취소합니다 취소해|권하 권합니다 권해
보 봅니다 봐|먹 먹습니다 먹어|주문하 주문합니다 주문해|설명하 설명합니다 설명해
부탁하 부탁합니다 부탁해|확인하 확인합니다 확인해|알리 알립니다 알려|기다리 기다립니다 기다려
소개하 소개합니다 소개해|정하 정합니다 정해|미루 미룹니다 미뤄|깎 깎습니다 깎아|내 냅니다 내
돌려주 돌려줍니다 돌려줘|고르 고릅니다 골라|빼 뺍니다 빼|옮기 옮깁니다 옮겨|들 듭니다 들어
나누 나눕니다 나눠|배우 배웁니다 배워|닫 닫습니다 닫아|열 엽니다 열어|놓 놓습니다 놓아
잃어버리 잃어버립니다 잃어버려|걱정하 걱정합니다 걱정해|시작하 시작합니다 시작해
그만두 그만둡니다 그만둬|거절하 거절합니다 거절해|추천하 추천합니다 추천해
""".replace("\n", "|").split("|")
    if line.strip()
]
OPENINGS = [
    "이야기 놀이를 하자.",
    "돌아가면서 이야기를 만들어 봐요.",
    "내가 먼저 이야기를 시작할게.",
    "이야기를 이어 가 볼까요?",
    "오늘은 이런 이야기예요.",
]
LINKS = ["", "", "", "그래서 ", "그러나 ", "하지만 ", "결국 ", "그리고 ", "대신 "]


def verb_phrase(rng: random.Random) -> tuple[str, bool]:
    """(a verb in one of its forms, whether the form speaks to somebody)."""
    stem, present, asking = rng.choice(VERBS)
    eu = "으" if final_consonant(stem) not in (0, 8) else ""
    will = {"팔": "팔", "만들": "만들", "들": "들", "열": "열"}.get(stem, stem)
    forms = [
        (present, False),
        (f"{stem}기로 합니다", False),
        (f"{stem}{eu}려고 합니다", False),
        (f"{stem}고 싶어 합니다", False),
        (f"{stem}지 못합니다", False),
        (f"{asking} 달라고 합니다", True),
        (f"{will}겠다고 말합니다", True),
        (f"{stem}{eu}라고 합니다", True),
        (f"{asking} 줍니다", True),
        (f"{asking}야 한다고 말합니다", True),
        (f"{stem}지 않기로 합니다", False),
        (f"{stem}자고 합니다", True),
    ]
    return rng.choice(forms)


def sentence(people: list[str], facts: dict[str, list[str]], rng: random.Random) -> str:
    """One narrated sentence on one or two of the people, with one to four facts."""
    who, other = rng.sample(people, 2)
    thing = rng.choice(facts["thing"])
    verb, spoken = verb_phrase(rng)
    parts = [with_particle(who, rng.choice(["은", "이"]))]
    if spoken and rng.random() < 0.7:
        parts.append(f"{other}에게")
    if rng.random() < 0.25:
        parts.append(
            rng.choice(
                [
                    f"{rng.choice(facts['thing'])} 때문에",
                    with_particle(rng.choice(facts["thing"]), "이") + " 없어",
                    with_particle(rng.choice(facts["thing"]), "이") + " 있어",
                    f"{rng.choice(facts['thing'])} 대신",
                ]
            )
        )
    if rng.random() < 0.45:
        parts.append(with_particle(rng.choice(facts["day"]), "에"))
    if rng.random() < 0.3:
        parts.append(rng.choice(facts["time"]) + rng.choice(["에", "까지", "부터"]))
    if rng.random() < 0.3:
        parts.append(rng.choice(facts["place"]) + rng.choice(["에서", "에"]))
    if rng.random() < 0.2:
        parts.append(with_particle(rng.choice(facts["price"]), "을") + " 내고")
    if rng.random() < 0.15:
        parts.append(with_particle(rng.choice(facts["thing"]), "으로"))
    parts.append(with_particle(thing, "을"))
    if rng.random() < 0.1:
        parts[0] = f"{with_particle(who, '과')} {with_particle(other, '은')}"
    return rng.choice(LINKS) + " ".join([*parts, verb]) + "."


def story(facts: dict[str, list[str]], rng: random.Random) -> list[list[str]]:
    """Two to five turns [tag, what is told], one or two sentences each."""
    tags = [f"#Person{i}#" for i in range(1, 6)]
    people = rng.sample(tags, 3) if rng.random() < 0.7 else rng.sample(facts["name"], 3)
    # Few facts in one story, so that they come back and can be copied.
    own = {kind: rng.sample(values, min(len(values), 4)) for kind, values in facts.items()}
    tellers = tags[: rng.randint(2, 3)]
    told = []
    for turn in range(rng.randint(2, 5)):
        text = " ".join(sentence(people, own, rng) for _ in range(rng.randint(1, 2)))
        told.append([tellers[turn % len(tellers)], text])
    if rng.random() < 0.5:
        told[0][1] = f"{rng.choice(OPENINGS)} {told[0][1]}"
    return told
