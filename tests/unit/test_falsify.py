"""Falsified references: false where the rule says so, letter by letter the same elsewhere."""

import csv
import unicodedata
from pathlib import Path

import pytest

from yoyak.scoring.falsify import KINDS, falsified_texts, falsify

DIALOGUES = Path(__file__).parents[2] / "workflow/resources/dialogues/dev.csv"
ENGLISH = [
    "#Person1# asks #Person2# to meet at 10:30 on Friday. #Person2# doesn't like it.",
    "Mr. Brown tells Mary that an 8-year-old car costs $1,200. She can't pay it.",
    "#Person1# and #Person2# are going to the 22nd party. They agree to leave at 7 p.m.",
    "Tom thought it was easy. He has been there for 3 weeks, and #Person1# has no time.",
    "The toner cartridge seems to have run out tomorrow morning.",
]
ODD = [
    "",
    "  \n",
    "…",
    "#Person1#",
    "😀😀 3시 😀",
    "12",
    "#PhoneNumber#",
    "#Person1#은#Person2#",
    "a\x00b",
]


def korean_references() -> list[str]:
    with DIALOGUES.open(encoding="utf-8", newline="") as file:
        return [row[name] for row in csv.DictReader(file) for name in ("summary", "summary2")]


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_changed_is_told_and_nothing_else_changes(language, kind):
    texts = (korean_references() if language == "ko" else ENGLISH) + ODD
    texts += [unicodedata.normalize("NFD", text) for text in texts] + [f"😀 {texts[0]}"]
    for text in texts:
        falsified = falsify(text, language, kind)
        if falsified is None:
            continue
        assert falsified.text != text
        assert falsified == falsify(text, language, kind)
        old, new = text, falsified.text
        for change in falsified.changed:
            assert change.before != change.after
            kept, found, old = old.partition(change.before)
            assert found == change.before
            while not new.startswith(kept + change.after):  # the same letters stood before, too
                more, found, old = old.partition(change.before)
                assert found, (text, falsified)
                kept += change.before + more
            new = new[len(kept + change.after) :]
        assert old == new


def test_the_rule_finds_something_in_nearly_every_reference():
    references = korean_references()
    assert sum(falsify(text, "ko", "all") is not None for text in references) >= 0.9 * len(
        references
    )


@pytest.mark.parametrize(
    ("kind", "text", "falsified"),
    [
        ("speakers", "#Person1#은 #Person2#를 돕는다.", "#Person2#는 #Person1#을 돕는다."),
        ("speakers", "#Person2#라고 한 #Person1#과", "#Person1#이라고 한 #Person2#와"),
        ("speakers", "#Person1#과 #Person2#는 영화를 본다.", None),  # it is as true
        ("speakers", "#Person2#로", "#Person1#으로"),
        ("numbers", "화요일 12시 30분에 세 명이 온다.", "수요일 1시 40분에 네 명이 온다."),
        ("numbers", "내일은 1,200원, 7만 원, 만이천 원", "오늘은 2,200원, 8만 원, 이만이천 원"),
        ("numbers", "지난해 겨울, 다음 주", "지지난해 여름, 이번 주"),
        ("numbers", "오전은 바쁘다. 15:00에 온다.", "오후는 바쁘다. 14:00에 온다."),
        ("numbers", "두 사람이 이 집을 한번 본다.", None),
        ("negated", "표를 예매해 주기로 했다.", "표를 예매해 주지 않기로 했다."),
        ("negated", "쉬게 됩니다.", "쉬지 않게 됩니다."),
        ("negated", "더 싼 집을 찾고 싶어 합니다.", "더 싼 집을 찾고 싶어 하지 않습니다."),
        ("negated", "사야 합니다.", "사지 않아도 됩니다."),
        ("negated", "#Person1#은 집에 안 간다.", "#Person1#은 집에 간다."),
        ("negated", "가지 않습니다.", "갑니다."),
        ("negated", "도울 수 없다고 한다.", "도울 수 있다고 한다."),
        ("negated", "추웠다. 오라고 한다.", "추웠다. 오지 말라고 한다."),
        ("negated", "가격은 3만 원이다.", "가격은 3만 원이 아니다."),
        ("negated", "그냥", None),
        ("all", "#Person1#이 3시에 온다.", "#Person2#가 4시에 온다."),
        (
            "all",
            "#Person1#이 온다. #Person2#는 간다.",
            "#Person2#가 온다. #Person2#는 가지 않는다.",
        ),
    ],
)
def test_korean(kind, text, falsified):
    found = falsify(text, "ko", kind)
    assert (found and found.text) == falsified


@pytest.mark.parametrize(
    ("kind", "text", "falsified"),
    [
        ("speakers", "#Person1# asks #Person2# to go.", "#Person2# asks #Person1# to go."),
        ("speakers", "#Person1# and #Person2# talk.", None),
        ("speakers", "Susan calls Mr. Brown.", "Mr. Brown calls Susan."),
        (
            "numbers",
            "He pays a $7 fee on Sunday at 12 p.m.",
            "He pays an $8 fee on Monday at 1 a.m.",
        ),
        (
            "numbers",
            "They meet on the 22nd for two hours.",
            "They meet on the 23rd for three days.",
        ),
        ("numbers", "It costs $1,200 and 3.5%.", "It costs $2,200 and 4.5%."),
        ("numbers", "The two of them may march.", None),
        ("negated", "#Person1# asks for help.", "#Person1# does not ask for help."),
        ("negated", "They finally agree.", "They finally do not agree."),
        ("negated", "#Person2# doesn't like it.", "#Person2# likes it."),
        ("negated", "Tom thought it was easy.", "Tom did not think it was easy."),
        ("negated", "#Person1#'s mother will come.", "#Person1#'s mother will not come."),
        ("negated", "#Person1# has no time.", "#Person1# has time."),
        ("negated", "Nice weather today", None),
        ("all", "#Person1# is 3. The man left.", "#Person2# is 4. The man did not leave."),
    ],
)
def test_english(kind, text, falsified):
    found = falsify(text, "en", kind)
    assert (found and found.text) == falsified


def test_texts_of_a_data_set_are_those_of_the_first_references():
    texts = falsified_texts([("#Person1#이 온다.", "#Person2#가 온다."), ("그냥",)], "ko")
    assert set(texts) == set(KINDS)
    assert texts["speakers"] == ["#Person2#가 온다.", None]
    assert texts["numbers"] == [None, None]
    assert texts["negated"] == ["#Person1#이 오지 않는다.", None]
