"""ROUGE against an independent brute force, against rouge-score itself, and on Korean."""

import random
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from yoyak.errors import UserError
from yoyak.scoring import tokenizers as rouge_tokenizers
from yoyak.scoring.rouge import Rouge, lcs_length
from yoyak.scoring.tokenizers import TOKENIZERS, make_tokenizer

ENGINES = {name: Rouge(name) for name in TOKENIZERS}

KOREAN = ["병원", "예약은", "오후", "했다.", "가겠다고", "말한다", "3시", "100원", "ㅋㅋ", "각"]
TAGS = ["#Person1#", "#Person2#은", "#Person10#와", "#PhoneNumber#로", "#", "##", "#은#"]
OTHERS = ["the", "Running", "runs", "doctor's", "😀", "👨\u200d👩\u200d👧", "é", "!?", ".,"]
PIECES = st.sampled_from([*KOREAN, *TAGS, *OTHERS])
TEXTS = st.one_of(
    st.lists(PIECES, max_size=25).map(" ".join),
    st.lists(PIECES, max_size=12).map("".join),
    st.text(max_size=40),
)


def brute_force(reference: list[str], prediction: list[str]) -> tuple[float, float, float]:
    """ROUGE-1, -2, -L F1 from their definitions: matches crossed off, the LCS in full."""

    def f1(hits: int, wanted: int, found: int) -> float:
        return 2 * hits / (wanted + found) if hits else 0.0

    scores = []
    for n in (1, 2):
        left = [reference[i : i + n] for i in range(len(reference) - n + 1)]
        found = [prediction[i : i + n] for i in range(len(prediction) - n + 1)]
        wanted, hits = len(left), 0
        for ngram in found:
            if ngram in left:
                left.remove(ngram)
                hits += 1
        scores.append(f1(hits, wanted, len(found)))
    return (*scores, f1(table_lcs(reference, prediction), len(reference), len(prediction)))


def table_lcs(first: list[str], second: list[str]) -> int:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, token in enumerate(first):
        for j, other in enumerate(second):
            longest = max(table[i][j + 1], table[i + 1][j])
            table[i + 1][j + 1] = table[i][j] + 1 if token == other else longest
    return table[-1][-1]


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=80, deadline=None)
@given(reference=TEXTS, prediction=TEXTS)
def test_agrees_with_brute_force(name, reference, prediction):
    engine = ENGINES[name]
    expected = brute_force(engine.tokenize(reference), engine.tokenize(prediction))
    assert engine.score_pair(reference, prediction) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=40, deadline=None)
@given(reference=TEXTS, prediction=TEXTS)
def test_equals_rouge_score_own_class(name, reference, prediction):
    engine = ENGINES[name]
    own = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=engine.tokenizer)
    expected = [score.fmeasure for score in own.score(reference, prediction).values()]
    assert list(engine.score_pair(reference, prediction)) == expected  # to the last bit


@settings(max_examples=40, deadline=None)
@given(text=st.text(alphabet="abc DEF's-09", max_size=60), other=st.text("abc de", max_size=60))
def test_english_is_rouge_score_with_stemming(text, other):
    own = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True).score(text, other)
    expected = [score.fmeasure for score in own.values()]
    assert list(ENGINES["english"].score_pair(text, other)) == expected


@settings(max_examples=30, deadline=None)
@given(references=st.lists(TEXTS, min_size=1, max_size=4), prediction=TEXTS)
def test_several_references(references, prediction):
    tokenizer = ENGINES["words"].tokenizer
    own = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=tokenizer)
    best = [score.fmeasure for score in own.score_multi(references, prediction).values()]
    assert list(Rouge("words", "max").score(references, prediction)) == best
    pairs = [ENGINES["words"].score_pair(reference, prediction) for reference in references]
    mean = [sum(column) / len(column) for column in zip(*pairs, strict=True)]
    assert list(Rouge("words").score(references, prediction)) == pytest.approx(mean, abs=1e-12)


def test_very_long_texts():
    generator = random.Random(1)
    words = [*KOREAN[:4], *TAGS[:2], *OTHERS[:5]]
    first, second = ([generator.choice(words) for _ in range(1000)] for _ in range(2))
    assert lcs_length(first, second) == table_lcs(first, second)
    long = " ".join(first * 5)
    for name in ("morphemes", "characters", "words"):
        assert ENGINES[name].score_pair(long, long) == (1.0, 1.0, 1.0)


RELATED = (
    "#Person1#은 #Person2#에게 병원 예약을 내일로 바꿔 달라고 부탁한다.",
    "#Person2#는 #Person1#의 부탁으로 병원 예약을 내일로 바꿔 준다.",
)


def test_rouge_score_default_gives_zero_on_korean():
    text = "병원 예약을 내일로 바꿔 달라고 부탁한다."
    own = RougeScorer(["rouge1", "rouge2", "rougeL"]).score(text, text)
    assert all(score.fmeasure == 0 for score in own.values())
    for name in ("morphemes", "content_morphemes", "characters", "words"):
        assert ENGINES[name].score_pair(text, text) == (1.0, 1.0, 1.0)


def test_related_sentences_get_a_sensible_score():
    rouge1, rouge2, rouge_l = ENGINES["morphemes"].score_pair(*RELATED)
    assert 0.5 < rouge1 < 0.95
    assert 0.2 < rouge2 < rouge_l < rouge1
    # Words miss that 예약을 and 예약은 name the same thing; the order of strictness is as expected.
    assert ENGINES["words"].score_pair(*RELATED)[0] < rouge1
    assert ENGINES["morphemes"].score_pair("병원 예약은", "병원 예약을")[0] > 0.6
    assert ENGINES["words"].score_pair("병원 예약은", "병원 예약을")[0] == 0.5


@pytest.mark.parametrize("empty", ["", " \n\t", "\u3000"])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_an_empty_prediction_scores_zero(name, empty):
    assert ENGINES[name].score(["#Person1#은 간다."], empty).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("#Person1#은 #Person2#에게 #PhoneNumber#로", ["#Person1#", "#Person2#", "#PhoneNumber#"]),
        ("#Person1##Person2#이랑#Person12#", ["#Person1#", "#Person2#", "#Person12#"]),
        ("#사람1#이 #Address#", ["#사람1#", "#Address#"]),
        ("Person1#은#Person2", []),
    ],
)
def test_tags_are_one_token_each(text, tags):
    tokens = make_tokenizer("morphemes").tokenize(text)
    assert [token for token in tokens if rouge_tokenizers.TAG.fullmatch(token)] == tags
    without = make_tokenizer("morphemes_no_tags").tokenize(text)
    assert without == [token for token in tokens if token not in tags]


def test_a_particle_stays_apart_from_its_tag():
    """Whichever particle follows, the speaker is the same token."""
    for particle in ("은", "이", "에게", "의", "와", "이라고"):
        tokens = ENGINES["morphemes"].tokenize(f"#Person1#{particle} 말한다.")
        assert tokens[0] == "#Person1#"
        assert "#" not in "".join(tokens[1:])


def test_composed_and_decomposed_hangul_are_the_same():
    decomposed = unicodedata.normalize("NFD", RELATED[0])
    for engine in ENGINES.values():
        assert engine.tokenize(decomposed) == engine.tokenize(RELATED[0])


def test_half_a_surrogate_pair_is_scored_not_raised():
    for engine in ENGINES.values():
        engine.score_pair("\ud83d 병원", "병원")


def test_signature_names_all_that_changes_a_score():
    signature = ENGINES["morphemes"].signature([["가", "나", "다"], ["가"]])
    parts = dict(part.split(":") for part in signature.split("|"))
    assert parts["nrefs"] == "1-3"
    assert parts["refs"] == "mean"
    assert parts["tok"] == "morphemes"
    assert parts["tags"] == "one-token"
    assert parts["analyser"].startswith("kiwipiepy-")
    assert parts["dictionary"].startswith("kiwipiepy_model-")
    assert parts["version"].startswith("rouge-score-")
    assert parts["L"] == "whole-text"
    signatures = {
        Rouge(name, how).signature([["가", "나"]]) for name in TOKENIZERS for how in ("mean", "max")
    }
    assert len(signatures) == 2 * len(TOKENIZERS)


def test_the_signature_tells_analysers_apart_that_bear_one_version(monkeypatch):
    """As Kiwi's kernels do: another one reads one of twenty sentences otherwise."""
    before = Rouge("morphemes").signature([["가"]])
    analyse, parts = rouge_tokenizers._kiwi()

    def other(text):
        found = analyse(text)
        return found[:-1] if text.startswith("나는") else found

    monkeypatch.setattr(rouge_tokenizers, "_kiwi", lambda: (other, parts))
    after = Rouge("morphemes").signature([["가"]])
    assert after != before
    assert after.split("|tokens:")[0] == before.split("|tokens:")[0]


def test_content_is_what_is_said_without_the_style():
    tokenize = make_tokenizer("content_morphemes").tokenize
    said = "#Person1#은 #Person2#에게 병원 예약을 내일 오후 3시로 바꿔 달라고 부탁한다."
    assert tokenize(said) == ["병원", "예약", "내일", "오후", "3", "바꾸", "부탁"]
    assert tokenize("#Person1#은 #Person2#에게 합니다. #Person2#는 하기로 합니다.") == []
    other = "#Person2#가 #Person1#한테 내일 오후 3시로 병원 예약을 바꿔 주기를 부탁했어요."
    assert sorted(tokenize(other)) == sorted(tokenize(said))
    assert tokenize("두 사람은 아주 예쁜 Wi-Fi 카페를 못 샀다.") == [
        *("두", "사람", "아주", "예쁘", "Wi", "Fi", "카페", "못", "사"),
    ]


def test_korean_tokenizers_share_one_analysis():
    analyse, _ = rouge_tokenizers._kiwi()
    text = "처음 보는 문장을 한 번만 분석한다."
    before = analyse.cache_info().misses
    for name in ("morphemes", "content_morphemes", "morphemes_no_tags"):
        make_tokenizer(name).tokenize(text)
    assert analyse.cache_info().misses == before + 1


def test_missing_analyser_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "kiwipiepy", None)
    rouge_tokenizers._kiwi.cache_clear()
    with pytest.raises(UserError, match="pip install kiwipiepy"):
        Rouge("morphemes")
    monkeypatch.undo()
    rouge_tokenizers._kiwi.cache_clear()


def test_unknown_tokenizer_is_refused():
    with pytest.raises(UserError, match="there are: morphemes"):
        Rouge("syllables")
