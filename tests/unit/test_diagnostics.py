"""Diagnostics of single dialogues and of a cell, each against a count by hand."""

import pytest

from yoyak.data.dialogues import Dialogue, read_dialogues
from yoyak.errors import PROJECT_ROOT
from yoyak.scoring.diagnostics import (
    RATES,
    diagnose,
    diagnose_all,
    diagnose_people,
    hangul_share,
    length_ratio,
    novel_share,
    repeated_share,
    summarise,
    unchanged_rate,
)
from yoyak.scoring.falsify import falsified_texts, falsify
from yoyak.scoring.predictions import Prediction
from yoyak.scoring.quantities import quantities, unfounded
from yoyak.scoring.reader import Reader


def prediction(text: str, finish: str = "stop", shortened: bool = False) -> Prediction:
    return Prediction("a", text, 10, 5, finish, shortened)


def test_a_prediction_is_unchanged_whatever_its_blanks():
    before = [Prediction(name, "가 나", 10, 5, "stop", False) for name in "abcd"]
    after = [
        Prediction(name, text, 9, 4, "length", True)
        for name, text in (("d", "가  나\n"), ("b", "가나"), ("a", "가 나"), ("e", "가 나"))
    ]
    assert unchanged_rate(after, before) == 0.5


def test_length_ratio_counts_characters_but_blanks():
    assert length_ratio("가 나 다", ["가나다 라마바"]) == 0.5
    assert length_ratio("가나다라", ["가나", "가나다라마바"]) == 1.0  # mean reference: 4
    assert length_ratio("", ["가나"]) == 0.0


def test_repeated_share():
    assert repeated_share(list("abcd"), 3) == 0.0
    assert repeated_share(list("abcabc"), 3) == pytest.approx(1 / 4)  # abc bca cab abc
    assert repeated_share(["a"] * 10, 3) == pytest.approx(7 / 8)
    assert repeated_share(["a", "b"], 3) is None


def test_novel_share():
    assert novel_share(list("abc"), list("xabcy"), 2) == 0.0
    assert novel_share(list("abc"), list("abxc"), 2) == 0.5
    assert novel_share(list("ab"), [], 2) == 1.0
    assert novel_share(["a"], ["a"], 2) is None


def test_hangul_share_leaves_tags_out():
    assert hangul_share("#Person1#은 간다 😀 3시!") == 1.0
    assert hangul_share("가나 ab") == 0.5
    assert hangul_share("#Person1# 123 !?") is None
    assert hangul_share("ㅋㅋ") == 1.0


DIALOGUE = """#Person1#: 화요일 오후 세 시에 사과를 사러 시장에 갈래?
#Person2#: 15일에는 병원에 가야 해. 의사가 약을 준대."""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("#Person1#이 화요일 3시에 가자고 한다.", False),
        ("15:00에 만난다.", False),
        ("십오 일에 병원에 간다.", False),
        ("저녁 세 시에 만난다.", False),  # the clock's afternoon
        ("수요일에 만난다.", True),
        ("네 시에 만난다.", True),
        ("내일 오전에 만난다.", True),
        ("두 사람은 시장에 한번 가기로 한다.", None),
    ],
)
def test_a_number_day_or_time_that_the_dialogue_lacks(text, found):
    assert unfounded(text, DIALOGUE, "ko") is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It costs 2,500 dollars on Friday.", False),
        ("They meet at 7:30 in the evening.", False),
        ("The two of them agree with one friend.", None),
        ("They meet at eight.", True),
        ("They meet tomorrow.", True),
    ],
)
def test_numbers_in_english(text, found):
    dialogue = "#Person1#: Two thousand five hundred, on Friday? Or at seven thirty this evening."
    assert unfounded(text, dialogue, "en") is found


def test_all_korean_numbers_are_one():
    for text in ("만오천 원", "만 5천 원", "1만5천 원", "15,000원", "15000원"):
        assert quantities(text, "ko") == ["15000"], text
    assert quantities("열두 시, 스물세 명, 사흘", "ko") == ["3", "12", "23"]


def reader(training: tuple[str, ...] = (), language: str = "ko") -> Reader:
    return Reader(language, str.split, training)


def test_whose_words_a_sentence_has():
    korean = reader()
    right = "#Person1#은 시장에서 사과를 사려고 한다. #Person2#는 병원에서 약을 받는다."
    assert korean.own_words(right, DIALOGUE) == 1.0
    swapped = falsify(right, "ko", "speakers").text
    assert korean.own_words(swapped, DIALOGUE) == 0.0
    assert korean.own_words("#Person1#은 시장에 간다. #Person1#은 병원에 간다.", DIALOGUE) == 0.5
    assert korean.own_words("#Person1#은 시장에 간다. #Person1#은 학교에 간다.", DIALOGUE) == 0.5
    for text in ("#Person3#는 시장에 간다.", "시장에 간다.", "#Person1#은 온다.", ""):
        assert korean.own_words(text, DIALOGUE) is None
    english = reader(language="en")
    dialogue = "#Person1#: I bought apples.\n#Person2#: My doctor has medicine."
    assert english.own_words("#Person1# buys an apple. Fine.", dialogue) == 1.0
    assert english.own_words("#Person2# buys an apple.", dialogue) == 0.0


def test_right_speaker_tells_people_from_swapped_speakers_and_these_from_constants():
    dialogues, train = (
        read_dialogues(PROJECT_ROOT / "workflow" / "resources" / "dialogues" / f"{name}.csv")
        for name in ("dev", "train")
    )
    people, swapped, *constants = (
        diagnose_all(texts, dialogues, reader())["own_words_share"]
        for texts in (
            [dialogue.summary for dialogue in dialogues],
            falsified_texts([dialogue.summaries for dialogue in dialogues], "ko")["speakers"],
            *([row.summary] * len(dialogues) for row in train[:12]),
        )
    )
    assert people > swapped + 0.2
    assert all(constant is None or constant < swapped for constant in constants)


def test_words_from_nowhere():
    korean = reader(("영화 이야기",))
    assert korean.unknown_words("시장에서 영화를 본다.", DIALOGUE) == 0.0
    assert korean.unknown_words("시장에서 코끼리를 본다.", DIALOGUE) == 0.5
    assert korean.unknown_words("#Person1#은 간다.", DIALOGUE) is None
    assert reader(("a film",), "en").unknown_words("films of elephants", "no") == 0.5


def test_people_are_measured_as_a_model_is():
    dialogues = [
        Dialogue("a", DIALOGUE, ("#Person1#은 3시에 시장에 가자고 한다.", "둘은 시장에 간다.")),
        Dialogue("b", DIALOGUE, ("#Person2#는 병원에 간다.",)),
    ]
    people = diagnose_people(dialogues, reader())
    assert people["n"] == 2 and people["unfounded_number_rate"] == 0.0
    assert people["own_words_share"] == 1.0
    assert people["length_ratio"] > 1  # of the first alone: nothing to compare the other with
    texts = falsified_texts([dialogue.summaries for dialogue in dialogues], "ko")["numbers"]
    falsified = diagnose_all(texts, dialogues, reader())
    assert falsified["n"] == 1 and falsified["unfounded_number_rate"] == 1.0


def test_a_cell_is_the_mean_of_its_dialogues():
    rows = [prediction("가 나 다"), prediction("", shortened=True), prediction("x x x x", "length")]
    references = ["#Person1#은 간다"]
    figures = [diagnose(row.prediction, "가 나", references, reader(), row.finish) for row in rows]
    cell = summarise(figures, rows)
    assert cell["n"] == 3
    assert cell["empty_rate"] == pytest.approx(1 / 3)
    assert cell["length_limit_rate"] == pytest.approx(1 / 3)
    assert cell["prompts_shortened"] == 1
    assert cell["repeated_ngram_rate"] == pytest.approx((0 + 0.5) / 2)  # the empty one has none
    assert cell["novel_bigram_rate"] == pytest.approx((0.5 + 1) / 2)
    assert cell["hangul_share"] == 0.5
    assert cell["unfounded_number_rate"] is None
    assert set(figures[0]) == set(RATES)
