"""Mistakes in data files. What may stand in one and is read all the same: test_dirty_files.py."""

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
    "missing column": told(
        train(f"fname,text,summary\na,{TALK},b\n"), CSV, "column missing: dialogue",
        cure="map the names under data.columns",
    ),
    "missing mapped column": told(
        data(columns={"group": "source"}), CSV, "column missing: source", cure="data.columns"
    ),
    "cp949": told(
        train((HEADER + f"a,{TALK},b,c\n").encode("cp949")), CSV, "not UTF-8 at byte",
        cure="iconv -f cp949 -t utf-8",
    ),
    "quote that never ends": told(row('x,"가,b,c\n'), CSV, "line 32", cure='close it with "'),
    "name twice": told(
        row(f"train0,{TALK},b,c\n"), CSV, "line 32", "'train0' is already on line 2",
        cure="Correct or remove",
    ),
    "seven bad rows": told(
        row("".join(f"x{n},,b,c\n" for n in range(7))), CSV, "7 bad rows", "32-38", cure="Correct"
    ),
    "spreadsheet": told(named("x.xlsx"), "x.xlsx", "'.xlsx'", cure="save it as .csv"),
    "pickle": told(named("x.pkl", pickle.dumps({})), "x.pkl", "'.pkl'", cure="save it as .csv"),
    "folder of nothing": told(data(train="data"), "data", "no state.json", cure="name a .csv"),
    "named pipe": told(pipe, "data/pipe.csv", "no regular file", cure="save it as"),
    "device": told(data(train="/dev/zero"), "/dev/zero", "no regular file", cure="save it as"),
    "JSON document of other names": told(
        json_lines('{"data": [{"head": {"id": 1}}]}'), "the file has: head.id", cure="data.columns"
    ),
    "dialogue of a list": told(
        json_lines(json.dumps({**LINE, "dialogue": ["a"]})), "line 1", "found ['a']",
        cure="must be text",
    ),
    "training data all in dev": told(only_leaks, "data.train", "all of its 4", cure="another file"),
    "one row to hold out of": told(
        train(HEADER + f"a,{TALK},b,c\n"), "1 dialogue(s)", cure="data.selection: dev"
    ),
}  # fmt: skip
