"""Leaks out of train, near-duplicates reported, a seeded slice held out, debug's few rows."""

import random
import time

import pytest

from yoyak.config.study_settings import Data
from yoyak.data.data_card import describe_split, distribution
from yoyak.data.dialogues import Dialogue
from yoyak.data.splits import drop_leaks, few_rows, hold_out, near_duplicates, raw_file, repeated
from yoyak.errors import UserError


def row(fname, text):
    return Dialogue(fname, text, ("요약",))


def rows(count, seed=0, words=60):
    rng = random.Random(seed)
    return [
        row(f"r{number}", " ".join(f"낱말{rng.randrange(5000)}" for _ in range(words)))
        for number in range(count)
    ]


def test_exact_duplicates_leave_train_and_are_counted():
    train = [row("a", "하나\n둘"), row("b", "Hello  there"), row("c", "셋 넷")]
    others = {"dev": [row("d1", "하나 둘")], "test": [row("t1", "hello there")]}
    kept, dropped = drop_leaks(train, others)
    assert [item.fname for item in kept] == ["c"]
    assert dropped == {"dev": 1, "test": 1}


def test_near_duplicates_are_found_and_unrelated_dialogues_are_not():
    train = rows(50)
    words = train[7].dialogue.split()
    words[30] = "다른말"
    found = near_duplicates(train, {"dev": [row("near", " ".join(words)), *rows(20, seed=9)]})
    assert [(pair.fname, pair.train_fname) for pair in found] == [("near", "r7")]
    assert 0.9 < found[0].jaccard < 1


def test_speaker_tags_alone_make_no_near_duplicate():
    a = "#Person1#: 사과 배 감\n#Person2#: 귤 포도 자두"
    b = "#Person1#: 산 강 들\n#Person2#: 하늘 구름 바람"
    assert near_duplicates([row("a", a)], {"dev": [row("b", b)]}) == []


def test_the_leak_check_is_quick_at_full_size():
    train, dev, test = rows(12457, words=90), rows(499, 1, 90), rows(499, 2, 90)
    started = time.perf_counter()
    drop_leaks(train, {"dev": dev, "test": test})
    near_duplicates(train, {"dev": dev, "test": test})
    assert time.perf_counter() - started < 30  # about 3 s on an idle core


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
        raw_file("korean", settings, "train")
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/train.csv").touch()
    assert raw_file("korean", settings, "train").exists()


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
