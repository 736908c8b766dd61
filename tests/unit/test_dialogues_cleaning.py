"""Each cleaning rule does what it says, is counted, and a second pass changes nothing."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoyak.data.cleaning import RULES, clean_text

EXAMPLES = {
    "crlf": ("가\r\n나\r다", "가\n나\n다"),
    "literal_newline": (r"가\n나\r\n다", "가\n나\n다"),
    "br_tag": ("가<br>나<BR />다</br>라", "가\n나\n다\n라"),
    "other_line_end": ("가\u2028나\x0c다\x85라", "가\n나\n다\n라"),
    "odd_space": ("가\u00a0나\u3000다", "가 나 다"),
    "invisible": ("\ufeff가\u200b나\u00ad다", "가나다"),
    "control": ("가\x07나\x1b다\x7f", "가나다"),
    "composed": ("\u1112\u1161\u11ab글", "한글"),
    "line_edge_blanks": ("  가 \n\t나  ", "가\n나"),
    "blank_lines": ("\n가\n\n\n나\n", "가\n나"),
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule(rule):
    raw, clean = EXAMPLES[rule]
    counts = Counter()
    assert clean_text(raw, counts) == clean
    assert counts == {rule: 1}


@pytest.mark.parametrize(
    "text",
    [
        "#Person1#: 네, 그래요.\n#Person2#: #PhoneNumber#로 전화해 주세요.",
        "👩‍👩‍👧 가족 👍🏽",
        "שלום עולם \u200fمرحبا",
        "=SUM(A1:A9) @x +1 -1",
        "C:/new & a < b > c 100%",
    ],
)
def test_what_is_no_noise_stays(text):
    counts = Counter()
    assert clean_text(text, counts) == text and not counts


NOISE = "a\\nr<b>/ \t\r\n\x01\x85\u2028\u200b\u3000가\u1112\u1161"


@given(st.text(alphabet=st.sampled_from(NOISE)))
def test_cleaning_twice_is_cleaning_once(text):
    once = clean_text(text)
    counts = Counter()
    assert clean_text(once, counts) == once and not counts
