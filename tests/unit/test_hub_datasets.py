"""Datasets on the Hub, from a small server that answers as the Hub does; refusals in one line.

A child process each, since the Hub's settings are read at import.
"""

import json
import socket
import time

import pytest
from data_shapes import (
    COLUMNS,
    conversations,
    sharegpt,
    texts,
    write_csv,
    write_lines,
    write_parquet,
)
from local_hub import COMMIT, DatasetHub, child, served
from test_checkpoints import one_line

from yoyak.config.study_settings import Data
from yoyak.data.dialogues import read_dialogues
from yoyak.data.splits import raw_data
from yoyak.errors import UserError

READ = """
    import json, sys
    from yoyak.data.dialogues import read_dialogues
    from yoyak.errors import UserError
    for name in sys.argv[2:]:
        try:
            rows = read_dialogues(name, json.loads(sys.argv[1]))
            print(*(row.topic if "labelled" in name else row.fname for row in rows))
        except UserError as error:
            print(error)
"""
CARD = """---
configs:
- config_name: ko
  data_files: [{split: train, path: ko/*.jsonl}, {split: dev, path: ko_dev.jsonl}]
- config_name: en
  data_files: en.jsonl
- config_name: elsewhere
  data_files: FOLDER/owner/talks/train.csv
---
"""
LABELS = """---
dataset_info:
  features:
  - {name: id, dtype: string}
  - name: about
    dtype: {class_label: {names: {'0': 여행, '1': 음식, '2': 기타}}}
---
"""


@pytest.fixture
def hub(tmp_path):
    """talks: two CSV; shards: a split in two Parquet files; two: two configurations."""
    with served(DatasetHub) as server:
        server.folder = tmp_path / "hub"
        names = ("talks", "shards/data", "two/ko", "script", "empty", "bad", "labelled")
        folders = [server.folder / "owner" / name for name in names]
        for folder in folders:
            folder.mkdir(parents=True)
        talks, shards, ko, script, _, bad, labelled = folders
        write_csv(talks / "train.csv", texts(conversations(0, 10)))
        write_csv(talks / "validation.csv", texts(conversations(10, 3)))
        for part in range(2):
            file = shards / f"train-0000{part}-of-00002.parquet"
            write_parquet(file, sharegpt(conversations(2 * part, 2)))
        (ko.parent / "README.md").write_text(CARD.replace("FOLDER", str(server.folder)))
        write_lines(ko / "a.jsonl", texts(conversations(0, 2)))
        write_lines(ko / "b.jsonl", texts(conversations(2, 1)))
        write_lines(ko.parent / "ko_dev.jsonl", texts(conversations(3, 2)))
        write_lines(ko.parent / "en.jsonl", texts(conversations(5, 2)))
        (script / "script.py").write_text("raise SystemExit('code of a stranger')")
        write_csv(bad / "train.csv", [*texts(conversations(0, 2)), *texts(conversations(0, 1))])
        (labelled / "README.md").write_text(LABELS)
        numbers = zip(texts(conversations(0, 4)), (1, 0, -1, "기타"), strict=True)
        write_csv(labelled / "train.csv", [row | {"about": topic} for row, topic in numbers])
        yield server


def read(*names: str, cache, port: int = 0) -> list[str]:
    done = child(READ, json.dumps(COLUMNS), *names, cache=cache, port=port)
    lines = done.stdout.splitlines()
    assert len(lines) == len(names), done.stderr
    return lines


READS = {
    "hf:owner/talks?split=train": "000 001 002 003 004 005 006 007 008 009",
    "hf:owner/talks?split=validation&revision=v1": "010 011 012",
    "hf:owner/talks?split=train[:30%]": "000 001 002",
    f"hf:owner/talks?split=train[-2:]&revision={COMMIT}": "008 009",
    "hf:owner/shards": "000 001 002 003",
    "hf:owner/two?config=ko&split=train": "000 001 002",
    "hf:owner/two?config=ko&split=dev": "003 004",
    "hf:owner/two?config=en": "005 006",
    "hf:owner/labelled": "음식 여행  기타",
}
REFUSALS = {
    "hf:owner/talks": "has several splits: train, validation; name one with ?split=NAME",
    "hf:owner/talks?split=dev": "has no split 'dev': train, validation",
    "hf:owner/talks?split=train[20:]": "no row of the 10 is in this slice",
    "hf:owner/talks?revision=v9&split=train": "it has no revision 'v9'",
    "hf:owner/two?split=train": "has the configurations ['ko', 'en', 'elsewhere']: name one",
    "hf:owner/two?config=fr": "it has the configurations ['ko', 'en', ",
    "hf:owner/two?config=elsewhere": "Data files don't belong to owner/two",
    "hf:owner/nothing": "no such dataset, or it is private",
    "hf:owner/empty": "it holds no file that can be read",
    "hf:owner/script": "made by a script, which is not run",
    "hf:owner/bad": "train.csv: 1 bad row: line 8: fname '000' is already on line 2",
}


def test_splits_slices_configurations_and_refusals(hub, tmp_path):
    lines = read(*READS, *REFUSALS, cache=tmp_path / "cache", port=hub.server_port)
    assert dict(zip(READS, lines, strict=False)) == READS
    for line, words in zip(lines[len(READS) :], REFUSALS.values(), strict=True):
        one_line(line, words)


def test_no_network_and_a_hub_that_hangs(tmp_path):
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        for port in (0, hanging.getsockname()[1]):
            began = time.monotonic()
            (line,) = read("hf:owner/talks", cache=tmp_path, port=port)
            one_line(line, "hf:owner/talks: the Hub cannot be reached")
            assert time.monotonic() - began < 60


def test_the_key_says_which_split_where_the_name_does_not():
    data = Data(train="hf:a/b", dev="hf:a/b", test="hf:a/b?split=x&config=ko&revision=refs/pr/1")
    names = [str(raw_data("mine", data, key)) for key in ("train", "dev", "test")]
    assert names == ["hf:a/b?split=train", "hf:a/b?split=validation", data.test]


def test_a_name_of_another_form_is_refused_when_the_study_is_read():
    for name in (
        *("hf:", "hf:name", "hf:a/b/c", "hf:../b", "hf:a/b?", "hf:a/b?split=", "hf:a/b?spilt=x"),
        *("hf:a/b?split=x&split=y", "hf:a/b?split=train+test", "hf:a/b?split=a[1]", "hf://a/b"),
    ):
        with pytest.raises(UserError, match="mine: train: found .* must be hf:owner/name, behind"):
            Data.checked({"train": name, "dev": "hf:a/b"}, "mine")
        with pytest.raises(UserError, match="must be hf:owner/name"):
            read_dialogues(name)
