"""The readers of data: CSV and JSON lines as strangers write them, and what is made of them."""

import json

import pytest
from fuzzing import fuzz, json_values, mutated, read_or_refused
from hypothesis import strategies as st

from yoyak.data.cleaning import clean_text
from yoyak.data.data_card import describe_split
from yoyak.data.dialogues import load_split, read_dialogues, to_csv
from yoyak.data.near_duplicates import near_duplicates
from yoyak.data.splits import drop_leaks, hold_out

HEADER = "fname,dialogue,summary,topic\n"
CSV_SAMPLES = [
    (HEADER + "a,#Person1#: 안녕,인사한다.,인사\nb,#Person2#: 네,답한다.,답\n").encode(),
    (HEADER + 'a,"#Person1#: ""가"",\n#Person2#: 나",요약,x\r\nb,"다\r\n라",요약,\n').encode(),
    "fname,dialogue,summary,summary2,summary3,topic,group\na,가,나,,다,t,g\n".encode(),
    b"fname,dialogue\na,b\n",
    "\ufefffname,dialogue,summary\na,=1+1,@x\n".encode(),
    'sep=;\r\n"fname";"dialogue";"summary"\r\n"a";"가, 나";"3,5"\r\n'.encode(),
]
JSON_SAMPLES = [
    '{"fname": "a", "dialogue": "#Person1#: 안녕", "summary": "인사", "topic": null}\n'
    '{"fname": 2, "dialogue": "가\\n나", "summary": ["하나", "둘"]}\n'.encode(),
    b'{"fname": "a", "dialogue": "\\ud83d\\ude00", "summary": "x", "group": "g"}',
    '{\n "data": [\n  {"fname": 1.0, "dialogue": [{"speaker": "갑", "utterance": "네"}],\n'
    '   "summary": 3, "a": {"b": {}}}\n ]\n}'.encode(),
]
TOKENS = [
    token.encode("utf-8", "surrogatepass")
    for token in (
        *(",", '"', '""', '"""', "\n", "\r\n", "\r", ";", "\t", "|", "\0", "\ufeff", "\u2028"),
        *("\u200b", "\\n", "<br>", "<BR/>", "<b<br>r>", "\\r\\n", "\x85", "\x0b", "\x1a", "\xa0"),
        *("fname", "dialogue", "summary", HEADER, "a,b,c,d\n", "=cmd|' /C calc'!A0", "-1", "nan"),
        *("#Person1#:", "#", "<|im_end|>", "{", "}", "[", "]", '{"', '":', "null", "NaN", "1e999"),
        *("\\ud83d", "\\u0000", "\\", "가", "각", "👩‍👩‍👧", "\u202e", "9" * 5000, "'"),
    )
] + [b"\xff", b"\xb0\xa1", b"\xff\xfe", b"\x00\x61"]


@pytest.fixture
def checked(tmp_path):
    """Returns a function that makes a check of files with this ending."""

    def make(ending, **arguments):
        file = tmp_path / f"data.{ending}"

        def check(raw):
            file.write_bytes(raw)
            for labelled in (True, False):
                rows = read_or_refused(
                    lambda: read_dialogues(file, labelled=labelled, **arguments)  # noqa: B023
                )
                if rows is not None:
                    use(rows, labelled, tmp_path)

        return check

    return make


def use(rows, labelled, folder) -> None:
    """What follows the reading: nothing that was read may break it, or change when read again."""
    assert rows and len({row.fname for row in rows}) == len(rows)
    for row in rows:
        assert row.fname.strip() == row.fname != "" and "\n" not in row.fname
        assert row.dialogue and (row.summaries or not labelled)
        for text in (row.dialogue, *row.summaries):
            assert "\0" not in text and "\r" not in text and clean_text(text) == text
    assert describe_split(rows)["rows"] == len(rows)
    written = folder / "again.csv"
    written.write_text(to_csv(rows, labelled=labelled), encoding="utf-8", newline="")
    assert load_split(written, labelled=labelled) == rows
    assert read_dialogues(written, labelled=labelled) == rows
    drop_leaks(rows, {"dev": rows[:1]})
    near_duplicates(rows, {"dev": rows[:1]})
    read_or_refused(hold_out, rows, 0.2, 42)


@st.composite
def json_rows(draw) -> bytes:
    """JSON lines whose cells are anything."""
    lines = []
    for number in range(draw(st.integers(1, 3))):
        row = {"fname": f"r{number}", "dialogue": "#Person1#: 안녕", "summary": "인사"}
        for key in draw(st.lists(st.sampled_from([*row, "topic", "summary2"]), max_size=3)):
            row[key] = draw(json_values(6))
        lines.append(json.dumps(row, ensure_ascii=draw(st.booleans())))
    return "\n".join(lines).encode("utf-8", "surrogatepass")


@st.composite
def csv_rows(draw) -> bytes:
    """CSV whose cells are any text."""
    import csv
    import io

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=draw(st.sampled_from(["\n", "\r\n"])))
    writer.writerow(["fname", "dialogue", "summary", "topic", "group"])
    cell = st.text(max_size=30) | st.sampled_from(
        [token.decode(errors="replace") for token in TOKENS]
    )
    for number in range(draw(st.integers(1, 4))):
        row = [f"r{number}", draw(cell), draw(cell), draw(cell), draw(cell)]
        writer.writerow([draw(cell) if draw(st.integers(0, 9)) == 0 else row[0], *row[1:]])
    return text.getvalue().encode("utf-8", "surrogatepass")


def test_csv(checked):
    fuzz(mutated(CSV_SAMPLES, TOKENS) | csv_rows(), checked("csv"))


def test_json_lines(checked):
    fuzz(mutated(JSON_SAMPLES, TOKENS) | json_rows(), checked("jsonl"))


def test_csv_with_other_columns(checked):
    columns = {"fname": "dialogue", "dialogue": "fname", "summaries": ["topic", "x"], "topic": None}
    check = checked("csv", columns=columns)
    fuzz(mutated(CSV_SAMPLES, TOKENS) | csv_rows(), check, examples=50)


def test_cleaning():
    """Applied twice it changes nothing, and it never takes long."""
    parts = st.sampled_from([token.decode(errors="replace") for token in TOKENS] + [" " * 999])
    texts = st.lists(parts | st.text(max_size=5), max_size=12).map("".join)

    def check(text):
        once = clean_text(text)
        assert clean_text(once) == once
        assert "\r" not in once and "\u200b" not in once

    long = [
        f"a{blank * 500_000}b" for blank in (" ", "\t", "\n", "\\", "\\n", "<br", "\r", "\u3000")
    ]
    fuzz(texts | texts.map(lambda text: text * 50), check, known=long)
