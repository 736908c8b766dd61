"""Mistakes in data files. What may stand in one and is read all the same: tests/dirty."""

import json
import os
import pickle
import shutil

from places import (
    HEADER,
    PREPARE,
    STUDY,
    TALK,
    Mistake,
    data,
    json_lines,
    named,
    row,
    train,
)

LINE = {"fname": "a", "dialogue": TALK, "summary": "인사"}


def told(make, *words, cure):
    return Mistake(make, PREPARE, words, cure)


def pipe(place):
    os.mkfifo(place.path("data/pipe.csv"))
    place.study(data={**STUDY["data"], "train": "data/pipe.csv"})


def only_leaks(place):
    shutil.copy(place.path("data/dev.csv"), place.path("data/train.csv"))


CSV = "data/train.csv"
DATA = {
    "no such file": told(data(train="none.csv"), "data.train", "none.csv", cure="put the train"),
    "empty file": told(train(""), CSV, "is empty", cure="a header line"),
    "byte-order mark and no more": told(train("\ufeff"), CSV, "is empty", cure="a header line"),
    "header and no rows": told(train(HEADER), CSV, "no rows", cure="has a header"),
    "missing column": told(
        train(f"fname,text,summary\na,{TALK},b\n"), CSV, "column missing: dialogue",
        cure="map the names under data.columns",
    ),
    "missing mapped column": told(
        data(columns={"group": "source"}), CSV, "column missing: source", cure="data.columns"
    ),
    "column twice": told(train("fname,dialogue,fname\n"), CSV, "'fname'", cure="stands twice"),
    "cp949": told(
        train((HEADER + f"a,{TALK},b,c\n").encode("cp949")), CSV, "not UTF-8 at byte",
        cure="iconv -f cp949 -t utf-8",
    ),
    "Latin-1": told(row(b"x,caf\xe9,b,c\n"), CSV, "line 32", cure="save it as UTF-8"),
    "UTF-16": told(train(HEADER.encode("utf-16")), CSV, "is UTF-16", cure="save it as UTF-8"),
    "binary": told(train(b"\0\1\2\3" * 999), CSV, "NUL bytes", cure="save it as UTF-8"),
    "NUL byte in a cell": told(row(f"x\0,{TALK},b,c\n"), CSV, "line 32", "NUL", cure="Correct or"),
    "quote that never ends": told(row('x,"가,b,c\n'), CSV, "line 32", cure='close it with "'),
    "text after a quote": told(row('x,"가"나,b,c\n'), CSV, "line 32", cure='double inner quotes'),
    "cell too many": told(row("x,가,b,c,d\n"), CSV, "line 32: 5 cells", cure="the header has 4"),
    "cells too few": told(row("x,가\n"), CSV, "line 32: 2 cells", cure="the header has 4"),
    "name twice": told(
        row(f"train0,{TALK},b,c\n"), CSV, "line 32", "'train0' stands on line 2",
        cure="Correct or remove",
    ),
    "empty name": told(
        row(f",{TALK},b,c\n"), CSV, "line 32: empty fname",
        cure="Correct or remove"
    ),
    "name of two lines": told(
        row(f'"a\nb",{TALK},b,c\n'), CSV, "line 32",
        cure="one line of at most"
    ),
    "giant name": told(row("x" * 9999 + f",{TALK},b,c\n"), CSV, "line 32", cure="200 characters"),
    "empty dialogue": told(
        row("x,,b,c\n"), CSV, "line 32", "'x'", "empty dialogue",
        cure="Correct"
    ),
    "dialogue of noise": told(row("x, <br> \u200b,b,c\n"), CSV, "empty dialogue", cure="Correct"),
    "empty summary": told(row(f"x,{TALK}, ,c\n"), CSV, "line 32", "empty summary", cure="Correct"),
    "seven bad rows": told(
        row("".join(f"x{n},,b,c\n" for n in range(7))), CSV, "7 bad rows", "32-38", cure="Correct"
    ),
    "semicolons": told(
        train("fname;dialogue;summary\na;b\n"), CSV, "line 2: 2 cells", cure="the header has 3"
    ),
    "spreadsheet": told(named("x.xlsx"), "x.xlsx", "'.xlsx'", cure="save it as .csv"),
    "compressed": told(named("x.csv.gz"), "x.csv.gz", "'.gz'", cure="save it as .csv"),
    "pickle": told(named("x.pkl", pickle.dumps({})), "x.pkl", "'.pkl'", cure="save it as .csv"),
    "folder of nothing": told(data(train="data"), "data", "no state.json", cure="name a .csv"),
    "named pipe": told(pipe, "data/pipe.csv", "no regular file", cure="save it as"),
    "device": told(data(train="/dev/zero"), "/dev/zero", "no regular file", cure="save it as"),
    "JSON array": told(
        json_lines(json.dumps([LINE, 5])), "row 2", "found 5", cure="a JSON object is needed"
    ),
    "JSON document of no rows": told(
        json_lines('{"data": []}'), "holds no rows", cure="at least one is needed"
    ),
    "JSON document of other names": told(
        json_lines('{"data": [{"head": {"id": 1}}]}'), "the file has: head.id", cure="data.columns"
    ),
    "JSON cut short": told(
        json_lines(json.dumps(LINE) + '\n{"fna'), "line 2: not JSON",
        cure="Correct"
    ),
    "no JSON": told(json_lines("안녕\n"), "train.jsonl", "line 1: not JSON", cure="Correct"),
    "JSON of a list": told(json_lines("[1]\n"), "found 1", cure="a JSON object is needed"),
    "JSON number": told(json_lines("5\n"), "line 1", "found 5", cure="a JSON object is needed"),
    "JSON without end": told(json_lines('{"a":' * 50_000), "line 1: not JSON", cure="too deep"),
    "key twice in JSON": told(
        json_lines('{"fname": "a", "fname": "b"}\n'), "line 1", "'fname'", cure="stands twice"
    ),
    "not a number in JSON": told(
        json_lines(json.dumps({**LINE, "dialogue": float("nan")})), "line 1", "found nan",
        cure="must be text",
    ),
    "dialogue of a list": told(
        json_lines(json.dumps({**LINE, "dialogue": ["a"]})), "line 1", "found ['a']",
        cure="must be text",
    ),
    "half a surrogate pair in JSON": told(
        json_lines(json.dumps({**LINE, "summary": "\ud83d"})), "line 1", cure="surrogate pair"
    ),
    "NUL in JSON": told(
        json_lines(json.dumps({**LINE, "dialogue": "\0"})), "line 1", "NUL", cure="Correct"
    ),
    "training data all in dev": told(only_leaks, "data.train", "all of its 4", cure="another file"),
    "one row to hold out of": told(
        train(HEADER + f"a,{TALK},b,c\n"), "1 dialogue(s)", cure="data.selection: dev"
    ),
}  # fmt: skip
