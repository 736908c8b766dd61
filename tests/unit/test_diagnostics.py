"""Diagnostics of single dialogues and of a cell, each against a count by hand."""

import pytest

from yoyak.scoring.diagnostics import (
    RATES,
    diagnose,
    hangul_share,
    length_ratio,
    novel_share,
    repeated_share,
    summarise,
    tag_agreement,
    unchanged_rate,
)
from yoyak.scoring.predictions import Prediction


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


def test_tag_agreement():
    references = ["#Person1#은 #Person2#에게 준다.", "#Person1#이 간다."]
    assert tag_agreement("#Person1#이 #Person1#을", references) == (1.0, 0.75)
    assert tag_agreement("#Person1#과 #Person3#", references) == (0.5, 0.75)
    assert tag_agreement("아무도 없다", references) == (None, 0.0)
    assert tag_agreement("#Person1#", ["없다"]) == (0.0, None)
    assert tag_agreement("#PhoneNumber#", ["#PhoneNumber#"]) == (None, None)  # a mask is no speaker


def test_a_cell_is_the_mean_of_its_dialogues():
    rows = [prediction("가 나 다"), prediction("", shortened=True), prediction("x x x x", "length")]
    figures = [diagnose(row, ["#Person1#은 간다"], "가 나", str.split) for row in rows]
    cell = summarise(figures, rows)
    assert cell["n"] == 3
    assert cell["empty_rate"] == pytest.approx(1 / 3)
    assert cell["length_limit_rate"] == pytest.approx(1 / 3)
    assert cell["prompts_shortened"] == 1
    assert cell["repeated_ngram_rate"] == pytest.approx((0 + 0.5) / 2)  # the empty one has none
    assert cell["novel_bigram_rate"] == pytest.approx((0.5 + 1) / 2)
    assert cell["hangul_share"] == 0.5
    assert cell["tag_precision"] is None
    assert cell["tag_recall"] == 0.0
    assert set(figures[0]) == set(RATES)
