"""The same conversations in every shape that is read: the same prepared data, byte for byte."""

import json
import sys

import pytest
from data_shapes import (
    COLUMNS,
    SHAPES,
    as_text,
    conversations,
    flat,
    messages,
    save_to_disk,
    texts,
    write_csv,
    write_lines,
    write_parquet,
)
from summarize import read_input

from yoyak.config.study import Study, load_study
from yoyak.config.study_settings import Columns, StudySettings
from yoyak.data.dialogues import load_split, read_dialogues
from yoyak.data.prepare import prepare_data
from yoyak.data.splits import raw_digests
from yoyak.errors import UserError

SPLITS = ("train.csv", "selection.csv", "dev.csv")


def prepared(folder, shape: str, **names) -> dict[str, bytes]:
    """The splits that prepare_data makes of the conversations in this shape."""
    columns, write = SHAPES[shape]
    folder.mkdir()
    files = {
        split: str(write(folder / split, conversations(first, count)))
        for split, first, count in (("train", 0, 12), ("dev", 12, 4))
    }
    data = {**files, "columns": columns | names, "speakers": "numbered", "selection_fraction": 0.2}
    settings = {
        "description": "one", "language": "ko", "data": data, "models": ["tiny_llama"],
        "formats": ["chat"], "augmentations": ["none"], "seeds": [42],
        "metric": {"primary": "words", "tokenizers": ["words"]},
    }  # fmt: skip
    study = Study("made", False, StudySettings.checked(settings, "made"), {})
    card = prepare_data(study, folder / "data")
    assert card["files"]["train"]["rows"] == 12 and card["files"]["train"]["sha256"]
    return {name: (folder / "data" / name).read_bytes() for name in SPLITS}


@pytest.mark.parametrize("names", [{}, {"fname": None}], ids=["named", "names made"])
def test_every_shape_gives_the_same_bytes(tmp_path, names):
    expected = prepared(tmp_path / "first", "CSV", **names)
    for shape in SHAPES:
        assert prepared(tmp_path / shape, shape, **names) == expected, shape
    rows = load_split(tmp_path / "first" / "data" / "dev.csv")
    assert [row.topic for row in rows] == ["007", "NA", "", "1.50"]
    assert [len(row.summaries) for row in rows] == [1, 2, 1, 2] and rows[1].summaries[1] == "NA"
    assert rows[0].turns[1] == "#Person2#: 12번 1,5 kg이나?"
    assert rows[0].fname == ("id-8955e743b735" if names else "012")


def test_a_made_name_belongs_to_the_dialogue_wherever_it_stands(tmp_path):
    rows = [{"dialogue": text, "summary": "요약"} for text in ("가", "나", "가")]
    written = read_dialogues(write_csv(tmp_path / "a.csv", rows))
    names = [row.fname for row in written]
    assert len(set(names)) == 3 and names[2] == f"{names[0]}-2"
    again = read_dialogues(write_parquet(tmp_path / "b.parquet", rows[1:]))
    assert [row.fname for row in again] == [names[1], names[0]]
    with pytest.raises(UserError, match="column missing: nr"):
        read_dialogues(tmp_path / "a.csv", {"fname": "nr"})


def test_summarize_takes_every_shape_by_the_columns_of_a_study(tmp_path):
    study = load_study("embedded")
    study.settings.data.speakers = "numbered"
    for number, (columns, write) in enumerate(SHAPES.values()):
        study.settings.data.columns = Columns.model_validate(columns)
        rows, single = read_input(str(write(tmp_path / str(number), conversations(0, 4))), study)
        assert [row.fname for row in rows] == ["000", "001", "002", "003"] and not single
        assert rows[3].dialogue == as_text(conversations(3, 1)[0])


def test_labels_that_are_numbers_have_the_names_that_datasets_keeps_beside_them(tmp_path):
    import datasets

    topics = datasets.ClassLabel(names=["여행", "1"])
    rows = [
        {"dialogue": text, "summary": "요약", "of": {"topic": topic}, "group": [topic or 0, 1]}
        for text, topic in (("가", 1), ("나", 0), ("다", None), ("라", -1))
    ]
    text = datasets.Value("string")
    kinds = {"dialogue": text, "summary": text, "of": {"topic": topics}}
    features = datasets.Features(kinds | {"group": datasets.List(topics)})
    table = datasets.Dataset.from_list(rows, features=features)
    table.to_parquet(tmp_path / "a.parquet")
    table.save_to_disk(tmp_path / "saved")
    for name in ("a.parquet", "saved"):
        read = read_dialogues(tmp_path / name, {"topic": "of.topic"})
        assert [row.topic for row in read] == ["1", "여행", "", ""]
        assert [row.group for row in read] == ["1, 1", "여행, 1", "여행, 1", "1"]


def test_a_folder_by_hand_is_known_by_the_bytes_of_its_files(tmp_path):
    """train_llm.py replaces no training on other data without being told to."""
    saved = save_to_disk(tmp_path / "saved", texts(conversations(0, 4)))
    study = load_study("embedded")
    study.settings.data.train = study.settings.data.dev = str(saved)
    before = raw_digests(study)
    (saved / "cache-0.arrow").write_bytes(b"of a map() in another program")
    assert raw_digests(study) == before
    (saved / "state.json").write_text("{}")
    assert raw_digests(study) != before


def test_a_bad_row_of_a_table_is_told_by_its_number(tmp_path):
    rows = messages(conversations(0, 4))
    rows[1]["talk"][2]["role"] = ""
    rows[2]["talk"] = None
    rows[3]["id"] = rows[0]["id"]
    for file in (write_parquet(tmp_path / "a.parquet", rows), save_to_disk(tmp_path / "b", rows)):
        with pytest.raises(UserError) as error:
            read_dialogues(file, COLUMNS)
        for told in (
            f"{file.name}: 3 bad rows: row 2: (fname '001') turn 3 needs speaker and utterance",
            "row 3: (fname '002') empty dialogue",
            "row 4: fname '000' is already on row 1",
        ):
            assert told in str(error.value)


def test_words_under_a_key_that_is_not_read_are_no_empty_turn(tmp_path):
    """In a table every turn has every key, those of other rows' turns empty."""
    talks = [{"speaker": "갑", "utterance": "네"}], [{"speaker": "을", "text": "잃을 말"}]
    rows = [flat(row, talk) for row, talk in zip(conversations(0, 2), talks, strict=True)]
    file = write_parquet(tmp_path / "a.parquet", rows)
    told = r"row 2: \(fname '001'\) turn 1 needs speaker and .*; it has 'speaker, text'"
    with pytest.raises(UserError, match=told):
        read_dialogues(file, COLUMNS)
    talks[1][0] |= {
        "text": None,
        "content": None,
        "tool_calls": [{"id": "a"}],
    }  # a message of OpenAI's
    talks[1].append({"role": "tool", "content": "맑음"})
    (row,) = read_dialogues(write_lines(tmp_path / "a.jsonl", rows[1:]), COLUMNS)
    assert row.dialogue == "tool: 맑음"


def test_lists_in_a_csv_are_no_texts(tmp_path):
    rows = texts(conversations(0, 2))
    rows[0]["gist"], rows[1]["talk"] = json.dumps(["가", "나"]), "[]"
    (row,) = read_dialogues(write_csv(tmp_path / "a.csv", rows[:1]), COLUMNS)
    assert row.summaries == ("가", "나")
    rows[0]["gist"] = str(["가", "나"])
    with pytest.raises(UserError) as error:
        read_dialogues(write_csv(tmp_path / "a.csv", rows), COLUMNS)
    for told in ("summary is a list of texts but no JSON", "(fname '001') empty dialogue"):
        assert told in str(error.value)


def test_damaged_tables_are_refused_in_one_line(tmp_path):
    whole = write_parquet(tmp_path / "whole.parquet", texts(conversations(0, 3))).read_bytes()
    for name, raw in (("cut", whole[:-9]), ("empty", b""), ("text", "가,나\n".encode())):
        file = tmp_path / f"{name}.parquet"
        file.write_bytes(raw)
        with pytest.raises(UserError, match=f"{name}.parquet: cannot be read .*; save it again"):
            read_dialogues(file, COLUMNS)
    folder = save_to_disk(tmp_path / "saved", texts(conversations(0, 3)))
    next(folder.glob("*.arrow")).write_bytes(b"x")
    with pytest.raises(UserError, match="saved: cannot be read .*; save it again"):
        read_dialogues(folder, COLUMNS)


def test_a_split_must_be_chosen_of_a_saved_dict_of_datasets(tmp_path):
    import datasets

    part = datasets.Dataset.from_list(texts(conversations(0, 3)))
    datasets.DatasetDict(train=part, dev=part).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(UserError, match="holds several splits; name one of its folders: dev, tra"):
        read_dialogues(tmp_path / "saved", COLUMNS)
    assert len(read_dialogues(tmp_path / "saved" / "dev", COLUMNS)) == 3


def test_without_the_packages_one_line_says_what_to_install(tmp_path, monkeypatch):
    table = write_parquet(tmp_path / "a.parquet", texts(conversations(0, 3)))
    folder = save_to_disk(tmp_path / "b", texts(conversations(0, 3)))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    for source, package in ((table, "pyarrow"), (folder, "datasets"), ("hf:a/b", "datasets")):
        with pytest.raises(UserError, match=rf"needs the package {package}: .*envs/data\.txt"):
            read_dialogues(source, COLUMNS)
