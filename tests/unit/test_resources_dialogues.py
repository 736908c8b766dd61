"""The embedded dialogues: counts, columns, groups, tags, how varied the references are, and that
the maker makes exactly these files."""

import csv
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import constants

FOLDER = Path(__file__).resolve().parents[2] / "workflow" / "resources" / "dialogues"
TAG = re.compile(r"#Person(\d)#:")
BATCHIM = {"은", "이", "을", "과"}


def rows(split):
    with open(FOLDER / f"{split}.csv", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def plain(text):
    return re.sub(r"\\n|<br>|\s+", "", text)


@pytest.fixture(scope="module")
def splits():
    return {split: rows(split) for split in ("train", "dev", "test")}


@pytest.mark.parametrize(
    ("split", "least", "columns"),
    [
        ("train", 600, ["fname", "dialogue", "summary", "topic", "cluster"]),
        (
            "dev",
            100,
            ["fname", "dialogue", "summary", "summary2", "summary3", "topic", "group", "cluster"],
        ),
        ("test", 50, ["fname", "dialogue"]),
    ],
)
def test_rows_and_columns(splits, split, least, columns):
    assert len(splits[split]) >= least
    assert list(splits[split][0]) == columns
    assert all(value.strip() for row in splits[split] for value in row.values())
    assert len({row["fname"] for row in splits[split]}) == len(splits[split])


def test_no_two_rows_share_a_dialogue(splits):
    texts = [plain(row["dialogue"]) for split in splits.values() for row in split]
    assert len(set(texts)) == len(texts)


def test_no_train_dialogue_is_nearly_one_of_dev_or_test(splits):
    def turns(row):
        return set(re.split(r"\n|\\n|<br>", row["dialogue"]))

    held_out = [turns(row) for split in ("dev", "test") for row in splits[split]]
    for row in splits["train"]:
        own = turns(row)
        assert max(len(own & other) / min(len(own), len(other)) for other in held_out) <= 0.75


def test_at_least_25_situations_are_seen_and_5_are_not(splits):
    seen = {row["topic"] for row in splits["train"]}
    unseen = {row["topic"] for row in splits["dev"] if row["group"] == "unseen"}
    assert len(seen) >= 25
    assert len(unseen) >= 5
    assert not seen & unseen
    assert {row["topic"] for row in splits["dev"] if row["group"] == "seen"} <= seen
    assert {row["group"] for row in splits["dev"]} == {"seen", "unseen"}


def test_turns_speakers_and_the_order_of_tags(splits):
    speakers = set()
    for split in splits.values():
        for row in split:
            tags = TAG.findall(row["dialogue"])
            assert 2 <= len(tags) <= 30, row["fname"]
            # Tags are numbered in the order in which the speakers first speak.
            assert list(dict.fromkeys(tags)) == [str(i + 1) for i in range(len(set(tags)))]
            speakers.add(len(set(tags)))
            if not re.search(r"\\n|<br>", row["dialogue"]):
                assert len(row["dialogue"].split("\n")) == len(tags), row["fname"]
    assert min(speakers) == 2
    assert max(speakers) == 7


def test_masks_and_noise_occur(splits):
    text = "\n".join(row["dialogue"] for split in splits.values() for row in split)
    for piece in ("#PhoneNumber#", "#Address#", "#CarNumber#", "\\n", "<br>"):
        assert piece in text
    assert not re.search(r"[{}\[\]|]", text), "a choice or a fact was left unresolved"


def test_summaries_name_speakers_and_differ(splits):
    named = [bool(re.search(r"#Person\d#", row["summary"])) for row in splits["train"]]
    assert 0.6 < sum(named) / len(named) < 0.9
    for row in splits["dev"]:
        assert len({row["summary"], row["summary2"], row["summary3"]}) == 3, row["fname"]
    for row in splits["train"] + splits["dev"]:
        assert 1 <= len(re.split(r"(?<=\.) ", row["summary"])) <= 2
        speakers = set(TAG.findall(row["dialogue"]))
        assert set(re.findall(r"#Person(\d)#", row["summary"])) <= speakers


def test_summaries_are_told_in_several_styles(splits):
    """Formal (…니다), plain (…다), noun (…음) and polite (…요); one sentence or two; each in at
    least one of twenty train summaries."""
    texts = [row["summary"] for row in splits["train"]]
    styles = {
        "formal": [text.endswith("니다.") for text in texts],
        "plain": [text.endswith("다.") and not text.endswith("니다.") for text in texts],
        "polite": [text.endswith("요.") for text in texts],
        "noun": [not text.endswith(("다.", "요.")) for text in texts],
        "one sentence": [". " not in text for text in texts],
        "two sentences": [". " in text for text in texts],
        "no tag": ["#Person" not in text for text in texts],
        "past": [
            bool(re.search(r"[했았었였왔줬됐](음|다|습니다|어요)\.$", text)) for text in texts
        ],
    }
    assert {name: sum(hits) for name, hits in styles.items() if sum(hits) < len(texts) / 20} == {}


def test_references_agree_on_content_and_no_constant_does(splits):
    """On every fourth dev row; tests/benchmarks/constants.py makes the whole search."""
    dev = splits["dev"][::4]
    references = [[row[name] for name in constants.REFERENCES] for row in dev]
    rouge = constants.Rouge("morphemes")
    texts = constants.content_free(random.Random(0))[:30]
    texts += [row["summary"] for row in splits["train"][:30]]
    scores = [constants.primary(rouge, references, [text] * len(dev)).mean() for text in texts]
    assert max(scores) < 26
    assert constants.human(rouge, references).mean() > 35


def test_a_cluster_is_a_situation(splits):
    for row in splits["train"] + splits["dev"]:
        assert re.fullmatch("[a-z_]+", row["cluster"])
    assert len({row["cluster"] for row in splits["dev"] if row["group"] == "unseen"}) == 7


def test_a_situation_has_many_summaries(splits):
    """Without their facts and tags, the summaries of a topic are still of several shapes."""
    shapes = {}
    for row in splits["train"]:
        first = re.sub(r"#Person\d#", "", row["summary"]).split()
        shapes.setdefault(row["topic"], set()).add(first[-2] + first[-1])
    assert min(len(found) for found in shapes.values()) >= 3


def test_particles_agree_with_the_tags(splits):
    """#Person1# and #Person7# end in a consonant when read aloud, the others in a vowel."""
    for row in splits["train"] + splits["dev"]:
        for digit, particle in re.findall(
            r"#Person(\d)#([은는이가을를과와])(?=\s)", row["summary"]
        ):
            assert (particle in BATCHIM) == (digit in "17"), row["summary"]


@pytest.mark.parametrize(
    ("word", "marker", "expected"),
    [
        ("기침", "은", "기침은"),
        ("코트", "을", "코트를"),
        ("서울", "으로", "서울로"),
        ("부산", "으로", "부산으로"),
        ("7번 버스", "이", "7번 버스가"),
        ("#Person1#", "과", "#Person1#과"),
        ("#Person2#", "이", "#Person2#가"),
        ("#PhoneNumber#", "을", "#PhoneNumber#를"),
        ("내일", "에", "내일"),
        ("월요일", "에", "월요일에"),
    ],
)
def test_particles(word, marker, expected, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from korean import with_particle

    assert with_particle(word, marker) == expected


@pytest.mark.parametrize(
    ("formal", "others"),
    [
        ("합니다", "한다 함 해요 했다"),
        ("바뀝니다", "바뀐다 바뀜 바뀌어요 바뀌었다"),
        ("묻습니다", "묻는다 물음 물어요 물었다"),
        ("돕습니다", "돕는다 도움 도와요 도왔다"),
        ("고릅니다", "고른다 고름 골라요 골랐다"),
        ("팝니다", "판다 팖 팔아요 팔았다"),
        ("부족합니다", "부족하다 부족함 부족해요 부족했다"),
        ("찾았습니다", "찾았다 찾았음 찾았어요 찾았다"),
    ],
)
def test_endings(formal, others, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from korean import ENDINGS, ended, formal_stem, past

    stem = formal_stem(formal)
    forms = [ended(stem, ending) for ending in ENDINGS] + [ended(past(stem), "plain")]
    assert forms == [formal, *others.split()]


def test_the_maker_makes_the_committed_files_byte_for_byte(tmp_path):
    subprocess.run(
        [sys.executable, str(FOLDER / "make_dialogues.py"), "--output-dir", str(tmp_path)],
        check=True,
        capture_output=True,
    )
    for split in ("train", "dev", "test"):
        assert (tmp_path / f"{split}.csv").read_bytes() == (FOLDER / f"{split}.csv").read_bytes()
