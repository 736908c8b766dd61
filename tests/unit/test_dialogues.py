"""Reading splits: column mapping, references, labels, clusters, folders of `datasets`.

Files with something wrong in them: tests/inputs/test_dirty_files.py.
"""

import importlib.util
import json
import unicodedata
from collections import Counter

import pytest

from yoyak.data.dialogues import Dialogue, load_split, read_dialogues, to_csv
from yoyak.errors import UserError

TURNS = "#Person1#: 안녕하세요.\n#Person2#: 네, 안녕하세요."


def write(path, text):
    path.write_text(text, encoding="utf-8", newline="")
    return path


def decomposed(text):
    return unicodedata.normalize("NFD", text)


def csv_file(folder, rows, header="fname,dialogue,summary,topic"):
    return write(folder / "train.csv", "\n".join([header, *rows]) + "\n")


def test_canonical_columns(tmp_path):
    path = csv_file(tmp_path, [f'a,"{TURNS}",둘이 인사한다.,인사'])
    assert read_dialogues(path) == [Dialogue("a", TURNS, ("둘이 인사한다.",), "인사", "")]


def test_turns_and_speakers_come_from_the_text():
    row = Dialogue("a", "#Person1#: 예\n#Person2#: 아니오\n#Person1#: 그래요")
    assert row.turns == ["#Person1#: 예", "#Person2#: 아니오", "#Person1#: 그래요"]
    assert row.speakers == ["#Person1#", "#Person2#"]


def test_columns_of_any_name(tmp_path):
    lines = [{"id": 7, "text": TURNS, "s1": "하나", "s2": "둘", "thema": "인사", "seen": "yes"}]
    path = write(tmp_path / "d.jsonl", "\n".join(map(json.dumps, lines)))
    columns = {
        "fname": "id", "dialogue": "text", "summaries": ["s1", "s2", "s3"],
        "topic": "thema", "group": "seen",
    }  # fmt: skip
    assert read_dialogues(path, columns) == [Dialogue("7", TURNS, ("하나", "둘"), "인사", "yes")]


COMPOSED = {"fname": "파일", "dialogue": "대화", "summaries": ["요약"]}
DECOMPOSED = {
    "fname": decomposed("파일"),
    "dialogue": decomposed("대화"),
    "summaries": [decomposed("요약")],
}
NESTED = {
    "fname": "header.dialogueInfo.dialogueID", "dialogue": "body.dialogue",
    "summaries": ["body.summary"], "topic": "header.dialogueInfo.topic",
}  # fmt: skip
CORPUS = {
    "numberOfItems": 1,
    "data": [
        {
            "header": {"dialogueInfo": {"dialogueID": 7, "topic": 2021}, "participantsInfo": [{}]},
            "body": {
                "dialogue": [{"utterance": "안녕", "participantID": "P01"}],
                "summary": "인사",
            },
        }
    ],
}


@pytest.mark.parametrize(
    ("name", "content", "columns", "row"),
    [
        ("d.csv", decomposed("파일,대화,요약\na,안녕,인사\n"), COMPOSED, ("a", "안녕", ("인사",))),
        ("d.csv", "\ufeff 파일 ;대화;요약\na;안녕;인사\n", DECOMPOSED, ("a", "안녕", ("인사",))),
        (
            "d.jsonl",
            json.dumps({decomposed("파일"): "a", "대화": "안녕", decomposed("요약"): 3}),
            DECOMPOSED,
            ("a", "안녕", ("3",)),
        ),
        (
            "d.json",
            json.dumps(CORPUS, indent=2),
            NESTED,
            ("7", "P01: 안녕", ("인사",), "2021"),
        ),
        (
            "d.jsonl",
            json.dumps(CORPUS["data"][0]),
            NESTED,
            ("7", "P01: 안녕", ("인사",), "2021"),
        ),
    ],
)
def test_names_in_korean_and_of_nested_cells(tmp_path, name, content, columns, row):
    assert read_dialogues(write(tmp_path / name, content), columns) == [Dialogue(*row)]


@pytest.mark.parametrize(
    ("number", "text"),
    [(2021, "2021"), (2021.0, "2021"), (-1.5, "-1.5"), (0, "0"), (2**60, f"{2**60}")],
)
def test_a_number_is_taken_as_text(tmp_path, number, text):
    cells = {
        "fname": number,
        "dialogue": "안녕",
        "summary": [number],
        "topic": number,
        "group": number,
    }
    path = write(tmp_path / "d.jsonl", json.dumps(cells))
    assert read_dialogues(path) == [Dialogue(text, "안녕", (text,), text, text)]


def test_a_json_list_is_several_references(tmp_path):
    path = write(
        tmp_path / "d.jsonl",
        json.dumps({"fname": "a", "dialogue": TURNS, "summary": ["하나", " ", "둘"]}),
    )
    assert read_dialogues(path)[0].summaries == ("하나", "둘")


def test_an_empty_reference_column_is_no_reference(tmp_path):
    path = csv_file(
        tmp_path, ["a,안녕,하나,,셋", "b,안녕,하나,둘,"], "fname,dialogue,summary,summary2,summary3"
    )
    assert [row.summaries for row in read_dialogues(path)] == [("하나", "셋"), ("하나", "둘")]


def test_an_unlabelled_split_has_no_summary_at_all(tmp_path):
    path = csv_file(tmp_path, ["a,안녕", "b,잘 가"], "fname,dialogue")
    assert [row.summaries for row in read_dialogues(path, labelled=False)] == [(), ()]
    with pytest.raises(UserError, match="column missing: summary"):
        read_dialogues(path)


def test_a_half_labelled_split_is_refused(tmp_path):
    path = csv_file(tmp_path, ["a,안녕,인사,x", "b,잘 가,,x"])
    with pytest.raises(UserError, match="line 3: .*'b'.* empty summary"):
        read_dialogues(path, labelled=False)


def test_the_summary_of_an_unlabelled_row_is_an_error():
    with pytest.raises(UserError, match="'a' has no summary"):
        _ = Dialogue("a", "안녕").summary


def test_writing_and_reading_again_changes_nothing(tmp_path):
    rows = [
        Dialogue("a", TURNS, ("하나", '그는 "네"라고, 말한다'), "인사", "seen"),
        Dialogue("=b", "=1+1\n@x", ("둘",), "", ""),
    ]
    path = write(tmp_path / "out.csv", to_csv(rows))
    assert load_split(path) == read_dialogues(path) == rows
    assert path.read_text(encoding="utf-8").splitlines()[0] == (
        "fname,dialogue,summary,summary2,topic,group"
    )


def test_an_unlabelled_split_is_written_without_summary_column():
    assert to_csv([Dialogue("a", "안녕")], labelled=False) == (
        "fname,dialogue,topic,group\na,안녕,,\n"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "cannot be read"),
        ("fname,dialogue,topic\na,b,c\n", "column missing: summary"),
        ('fname,dialogue,summary\na,"b,c\n', "cannot be read"),
    ],
)
def test_a_damaged_prepared_file_is_prepared_again(tmp_path, content, words):
    path = write(tmp_path / "dev.csv", content)
    with pytest.raises(UserError, match=f"dev.csv: {words}.*; run prepare_data.py again"):
        load_split(path)


def test_cleaning_is_counted(tmp_path):
    path = csv_file(tmp_path, [r'a,"#Person1#: 네\n#Person2#: 예<br>#Person1#: 응 ",요약,x'])
    counts = Counter()
    assert len(read_dialogues(path, counts=counts)[0].turns) == 3
    assert counts == {"literal_newline": 1, "br_tag": 1, "line_edge_blanks": 1}


def test_every_missing_column_is_named_with_what_is_there(tmp_path):
    path = csv_file(tmp_path, ["a,안녕"], "id,text")
    with pytest.raises(UserError) as error:
        read_dialogues(path)
    message = str(error.value)
    assert "column missing: dialogue; summary" in message
    assert "the file has: id, text" in message and "data.columns" in message


def test_a_topic_column_that_was_asked_for_must_exist(tmp_path):
    path = csv_file(tmp_path, ["a,안녕,요약,x"])
    with pytest.raises(UserError, match="column missing: thema"):
        read_dialogues(path, {"topic": "thema"})
    assert read_dialogues(path, {"topic": None})[0].topic == ""


def test_a_datasets_folder(tmp_path):
    if importlib.util.find_spec("datasets") is None:
        (tmp_path / "state.json").write_text("{}")
        with pytest.raises(UserError, match="pip install datasets"):
            read_dialogues(tmp_path)
        return
    import datasets

    folder = tmp_path / "saved"
    rows = {"fname": ["a"], "dialogue": [TURNS], "summary": ["요약"]}
    datasets.Dataset.from_dict(rows).save_to_disk(str(folder))
    assert read_dialogues(folder)[0].dialogue == TURNS


def test_a_folder_of_something_else(tmp_path):
    with pytest.raises(UserError, match="none that `datasets` saved"):
        read_dialogues(tmp_path)
    (tmp_path / "dataset_dict.json").write_text("{}")
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match="name one of its folders: train"):
        read_dialogues(tmp_path)


def test_a_cluster_goes_with_its_dialogue_where_there_is_one(tmp_path):
    raw = tmp_path / "raw.csv"
    raw.write_text(
        "fname,dialogue,summary,topic,situation\na,b,c,d, 병원  접수 \n", encoding="utf-8"
    )
    columns = {"fname": "fname", "dialogue": "dialogue", "summaries": ["summary"]}
    (named,) = read_dialogues(raw, {**columns, "cluster": "situation"})
    (plain,) = read_dialogues(raw)
    assert (named.cluster, named.alike) == ("병원 접수", "병원 접수")
    assert (plain.cluster, plain.alike) == ("", "d")
    assert to_csv([plain]).startswith("fname,dialogue,summary,topic,group\n")
    clean = tmp_path / "clean.csv"
    clean.write_text(to_csv([named, plain]), encoding="utf-8")
    clean.write_text(clean.read_text(encoding="utf-8").replace("\na,b,c,d,,\n", "\ne,b,c,d,,\n"))
    assert [row.cluster for row in load_split(clean)] == ["병원 접수", ""]
