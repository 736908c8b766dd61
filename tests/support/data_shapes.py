"""One small table of conversations, written in the shapes in which people keep theirs."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

LINES = ('어제 산 컵 봤어, 아니면 "그" 접시?', "네; 찬장에 있어요.", "NA", "1,5 kg이나?", "007")
COLUMNS = {"fname": "id", "dialogue": "talk", "summaries": ["gist", "gist2"], "topic": "about"}
NESTED = {
    "fname": "head.id", "dialogue": "body.turns", "summaries": ["body.gists"], "topic": "head.about"
}  # fmt: skip
Row = dict[str, object]


def conversations(first: int, count: int) -> list[Row]:
    """Rows with an id, turns of two speakers, one or two summaries, and a topic of digits or NA."""
    rows = []
    for number in range(first, first + count):
        words = [f"{number}번 {LINES[(number + turn) % len(LINES)]}" for turn in range(3)]
        turns = [(("갑", "을")[turn % 2], said) for turn, said in enumerate(words)]
        gists = [f"{number}번을 말한다.", "NA"][: 1 + number % 2]
        about = ("007", "NA", "", "1.50")[number % 4]
        rows.append({"id": f"{number:03}", "turns": turns, "gists": gists, "about": about})
    return rows


def as_text(row: Row) -> str:
    tags = {"갑": "#Person1#", "을": "#Person2#"}
    return "\n".join(f"{tags[speaker]}: {words}" for speaker, words in row["turns"])


def as_turns(row: Row, speaker: str, words: str, names: tuple[str, str] = ("갑", "을")) -> list:
    """A list of turns under these keys; the two speakers under these names."""
    name = dict(zip(("갑", "을"), names, strict=True))
    return [{speaker: name[who], words: said} for who, said in row["turns"]]


def flat(row: Row, talk: object) -> Row:
    """A row of a table: cells by column, an absent reference or topic empty."""
    gist, gist2 = (*row["gists"], "")[:2]
    return {"id": row["id"], "talk": talk, "gist": gist, "gist2": gist2, "about": row["about"]}


def texts(rows: list[Row]) -> list[Row]:
    return [flat(row, as_text(row)) for row in rows]


def messages(rows: list[Row]) -> list[Row]:
    return [flat(row, as_turns(row, "role", "content", ("user", "assistant"))) for row in rows]


def sharegpt(rows: list[Row]) -> list[Row]:
    return [flat(row, as_turns(row, "from", "value", ("human", "gpt"))) for row in rows]


def write_csv(path: Path, rows: list[Row], encoding: str = "utf-8", **dialect) -> Path:
    with open(path, "w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), **{"lineterminator": "\n", **dialect})
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def write_lines(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[Row]) -> Path:
    import pandas as pd

    pd.DataFrame(rows).to_parquet(path)
    return path


def save_to_disk(path: Path, rows: list[Row]) -> Path:
    import datasets

    datasets.Dataset.from_list(rows).save_to_disk(str(path))
    return path


def nested(rows: list[Row]) -> list[Row]:
    return [
        {
            "head": {"id": row["id"], "about": row["about"]},
            "body": {"turns": as_turns(row, "speaker", "utterance"), "gists": row["gists"]},
        }
        for row in rows
    ]


def json_cells(rows: list[Row]) -> list[Row]:
    """Messages as JSON text, as a list has to stand in a CSV."""
    return [{**row, "talk": json.dumps(row["talk"])} for row in messages(rows)]


EXCEL = {"delimiter": ";", "lineterminator": "\r\n"}
# Name: (the columns' names, how rows are written to a place without ending, what was written).
SHAPES: dict[str, tuple[dict, Callable[[Path, list[Row]], Path]]] = {
    "CSV": (COLUMNS, lambda at, rows: write_csv(at.with_suffix(".csv"), texts(rows))),
    "semicolons": (
        COLUMNS,
        lambda at, rows: write_csv(at.with_suffix(".csv"), texts(rows), "utf-8-sig", **EXCEL),
    ),
    "Korean Excel": (
        COLUMNS,
        lambda at, rows: write_csv(
            at.with_suffix(".csv"), texts(rows), "cp949", lineterminator="\r\n"
        ),
    ),
    "TSV": (
        COLUMNS,
        lambda at, rows: write_csv(at.with_suffix(".tsv"), texts(rows), delimiter="\t"),
    ),
    "messages in a CSV": (
        COLUMNS,
        lambda at, rows: write_csv(at.with_suffix(".csv"), json_cells(rows)),
    ),
    "JSON document": (
        COLUMNS,
        lambda at, rows: write_json(at.with_suffix(".json"), {"version": 1, "data": texts(rows)}),
    ),
    "nested JSON": (NESTED, lambda at, rows: write_json(at.with_suffix(".json"), nested(rows))),
    "JSON Lines": (COLUMNS, lambda at, rows: write_lines(at.with_suffix(".jsonl"), texts(rows))),
    "messages": (COLUMNS, lambda at, rows: write_lines(at.with_suffix(".jsonl"), messages(rows))),
    "ShareGPT": (COLUMNS, lambda at, rows: write_json(at.with_suffix(".json"), sharegpt(rows))),
    "Parquet": (COLUMNS, lambda at, rows: write_parquet(at.with_suffix(".parquet"), texts(rows))),
    "nested Parquet": (
        NESTED,
        lambda at, rows: write_parquet(at.with_suffix(".parquet"), nested(rows)),
    ),
    "saved dataset": (COLUMNS, lambda at, rows: save_to_disk(at, texts(rows))),
    "messages in a saved dataset": (COLUMNS, lambda at, rows: save_to_disk(at, messages(rows))),
}
