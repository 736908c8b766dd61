"""Leaks out of train, near-duplicates reported, a seeded slice held out, debug's few rows."""

import random
import time
import unicodedata

import pytest

from yoyak.config.study_settings import Data
from yoyak.data.data_card import describe_split, distribution
from yoyak.data.dialogues import Dialogue
from yoyak.data.near_duplicates import near_duplicates
from yoyak.data.splits import drop_leaks, few_rows, hold_out, raw_data, repeated
from yoyak.errors import UserError


def row(fname, text):
    return Dialogue(fname, text, ("요약",))


def rows(count, seed=0, words=60, stock=0, phrases=4):
    """Dialogues of random words, `stock` of them phrases of six words out of a few."""
    rng = random.Random(seed)
    known = [[f"늘{phrase}말{word}" for word in range(6)] for phrase in range(phrases)]
    made = []
    for number in range(count):
        turns = [
            [f"낱말{rng.randrange(5000)}" for _ in range(6)] for _ in range(words // 6 - stock)
        ]
        turns += rng.sample(known, stock)
        rng.shuffle(turns)
        made.append(row(f"r{number}", "\n".join(f"#갑#: {' '.join(turn)}." for turn in turns)))
    return made


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("갑: 안녕 하세요.  네~ 😀", True),
        ("갑 : 안녕하세요!\n네… 😀", True),
        (unicodedata.normalize("NFD", "“갑”: 안녕하세요, 네 😀"), True),
        ("갑: 안녕하세요. 네", False),
        ("갑: 안녕하세요. 아니요 😀", False),
    ],
)
def test_a_leak_is_found_whatever_its_blanks_and_punctuation(text, same):
    train = [
        row("a", "갑: 안녕하세요. 네 😀"),
        row("b", "Hello  there"),
        row("c", "?!"),
        row("d", "…"),
    ]
    others = {"dev": [row("d1", text)], "test": [row("t1", "hello, THERE"), row("t2", "? !")]}
    kept, dropped = drop_leaks(train, others)
    assert [item.fname for item in kept] == (["d"] if same else ["a", "d"])
    assert dropped == {"dev": int(same), "test": 2}


def test_near_duplicates_are_found_and_unrelated_dialogues_are_not():
    train = rows(50)
    words = train[7].dialogue.split()
    words[30] = "다른말"
    found = near_duplicates(train, {"dev": [row("near", " ".join(words)), *rows(20, seed=9)]})
    assert [(pair.fname, pair.train_fname) for pair in found.closest] == [("near", "r7")]
    assert 0.9 < found.closest[0].jaccard < 1
    assert (found.train_rows, found.rows) == (1, {"dev": 1})


@pytest.mark.parametrize("stock", [0, 5, 10])
def test_near_duplicates_are_just_the_pairs_that_their_definition_names(stock):
    """Whether phrases are rare, in half of each dialogue, or make nearly all pairs near."""
    train, dev = (rows(100, seed, stock=stock, phrases=stock) for seed in (1, 2))
    train[9] = row("r9", dev[4].dialogue + " 끝")
    near = {}
    for one in train:
        for other in dev:
            a, b = (triples(item.dialogue) for item in (one, other))
            if len(a & b) / len(a | b) >= 0.5:
                near[one.fname, other.fname] = round(len(a & b) / len(a | b), 4)
    found = near_duplicates(train, {"dev": dev})
    closest = sorted((-jaccard, dev, one) for (one, dev), jaccard in near.items())[:20]
    assert [(-pair.jaccard, pair.fname, pair.train_fname) for pair in found.closest] == closest
    assert found.train_rows == len({one for one, _ in near}) and len(near) > (stock == 10) * 5_000
    assert found.rows == {"dev": len({other for _, other in near})}


def triples(text):
    words = text.replace("#갑#:", " ").replace(".", " ").split()
    return set(zip(words, words[1:], words[2:], strict=False))


def test_speaker_tags_alone_make_no_near_duplicate():
    a = "#Person1#: 사과 배 감\n#Person2#: 귤 포도 자두"
    b = "#Person1#: 산 강 들\n#Person2#: 하늘 구름 바람"
    assert near_duplicates([row("a", a)], {"dev": [row("b", b)]}).closest == []


@pytest.mark.parametrize(
    "count", [(12_457, 998), pytest.param((100_000, 10_000), marks=pytest.mark.slow)]
)
def test_the_leak_check_is_quick_where_all_dialogues_share_phrases(count):
    train, dev = (rows(number, seed, 96, stock=8, phrases=12) for seed, number in enumerate(count))
    started = time.process_time()
    near_duplicates(train, {"dev": dev})
    assert time.process_time() - started < 60 * count[0] / 100_000 + 5  # a third of it is usual


def test_the_held_out_slice_is_seeded_whole_and_in_order():
    train = rows(200)
    learned, selection = hold_out(train, 0.1, seed=42)
    assert (len(learned), len(selection)) == (180, 20)
    assert hold_out(train, 0.1, seed=42) == (learned, selection)
    assert hold_out(train, 0.1, seed=43)[1] != selection
    numbers = [int(item.fname[1:]) for item in selection]
    assert numbers == sorted(numbers)
    assert {item.fname for item in learned} | {item.fname for item in selection} == {
        item.fname for item in train
    }


def test_equal_dialogues_never_stand_on_both_sides():
    train = [row(f"r{number}", f"대화 {number // 2}") for number in range(100)]
    learned, selection = hold_out(train, 0.1, seed=1)
    assert not {item.dialogue for item in learned} & {item.dialogue for item in selection}


def test_too_few_rows_to_hold_out():
    with pytest.raises(UserError, match="too few to hold out"):
        hold_out([row("a", "하나")], 0.1, seed=1)


def test_few_rows_is_a_seeded_sample_in_file_order():
    train = rows(300)
    few = few_rows(train, 50, seed=42)
    assert len(few) == 50 and few == few_rows(train, 50, seed=42)
    assert [train.index(item) for item in few] == sorted(train.index(item) for item in few)
    assert few_rows(train[:10], 50, seed=42) == train[:10]


def test_repeated_rows_are_counted():
    assert repeated([row("a", "하나"), row("b", "하나 "), row("c", "둘")]) == 1


def test_a_raw_file_that_is_not_there_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    columns = {"fname": "id", "dialogue": "text", "summaries": ["s"]}
    settings = Data(train="data/raw/train.csv", dev="dev.csv", columns=columns)
    with pytest.raises(UserError, match="data.train: data/raw/train.csv does not exist; put .*id"):
        raw_data("korean", settings, "train")
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/train.csv").touch()
    assert raw_data("korean", settings, "train").exists()


def test_statistics_of_a_split():
    described = describe_split(
        [
            Dialogue("a", "#Person1#: 가\n#Person2#: 나", ("하나", "둘"), "인사", "seen"),
            Dialogue("b", "말", ("말이 길다",), "인사", "unseen"),
        ]
    )
    assert described["rows"] == 2 and described["references"] == {"1": 1, "2": 1}
    assert described["turns"]["max"] == 2 and described["rows_without_speaker_tag"] == 1
    assert described["topics"] == {"different": 1, "most_frequent": {"인사": 2}}
    assert described["groups"] == {"seen": 1, "unseen": 1}
    assert described["summaries_longer_than_dialogue"] == 1


def test_distribution_is_nearest_rank_and_its_histogram_is_complete():
    described = distribution([1, 2, 3, 4, 100])
    assert (described["p50"], described["p95"], described["mean"]) == (3, 100, 22.0)
    assert sum(described["histogram"]["counts"]) == 5
    assert distribution([]) == {"count": 0}
