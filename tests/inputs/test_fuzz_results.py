"""The readers of result files: predictions, run.json, tables; cut short or edited by hand."""

import copy
import json

import pytest
from fuzzing import fuzz, json_values, mutated, read_or_refused
from hypothesis import strategies as st

from yoyak.config.loading import load_config
from yoyak.config.model_config import ModelConfig
from yoyak.config.study import Run
from yoyak.reporting import run_rows, tables
from yoyak.scoring.predictions import match_predictions, read_predictions, read_run

LINE = {
    "fname": "a",
    "prediction": "요약",
    "prompt_tokens": 12,
    "new_tokens": 3,
    "finish": "stop",
    "dialogue_shortened": False,
}
RECORD = {
    "step": "train",
    "run": {
        "model": "tiny_llama",
        "variant": "default",
        "format": "chat",
        "condition": "fine_tuned",
        "seed": 42,
    },
    "hardware": {"cpu": "x", "gpu": {"name": "H", "memory_gb": 80.0}},
    "settings": {"model": {"checkpoint": "a/b"}, "generation": {}},
    "steps": 75,
    "supervised_tokens": 1000,
    "wall_seconds": 1.5,
    "tokens_per_second": 10.5,
    "peak_memory_gb": 0.5,
}
TOKENS = [
    token.encode("utf-8", "surrogatepass")
    for token in (
        *("{", "}", "[", "]", '"', ":", ",", "\n", "\r", "\0", "\u2028", "null", "NaN", "Infinity"),
        *("-1", "1e999", "9" * 5000, "true", '"a"', "\\ud83d", "\ud83d", '{"a":', '"finish":'),
        *("\ufeff", "\\", "'", ";", "3.5", "x", ",,", '"\n'),
    )
] + [b"\xff", b"\xff\xfe"]


@st.composite
def edited(draw, content: dict) -> bytes:
    """JSON of `content` with some values, anywhere in it, gone or replaced by anything."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(0, 3))):
        place = content
        key = draw(st.sampled_from(sorted(place)))
        while isinstance(place[key], dict) and place[key] and draw(st.booleans()):
            place = place[key]
            key = draw(st.sampled_from(sorted(place)))
        if draw(st.integers(0, 4)) == 0 and len(place) > 1:
            del place[key]
        else:
            place[key] = draw(json_values(6))
    return json.dumps(content, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


def test_predictions(tmp_path):
    file = tmp_path / "dev.jsonl"
    whole = json.dumps(LINE, ensure_ascii=False).encode()

    def check(raw):
        file.write_bytes(raw)
        rows = read_or_refused(read_predictions, file)
        if rows is None:
            return
        assert rows and len({row.fname for row in rows}) == len(rows)
        for row in rows:
            assert row.finish in ("stop", "length") and row.new_tokens >= 0
            (row.fname + row.prediction).encode("utf-8")  # can be written again
        read_or_refused(match_predictions, rows, ["a"], file, file)

    lines = st.lists(edited(LINE), min_size=1, max_size=3).map(b"\n".join)
    samples = [whole + b"\n" + whole.replace(b'"a"', b'"b"') + b"\n"]
    fuzz(lines | mutated(samples, TOKENS), check, known=KNOWN_PREDICTIONS)


def test_run_records(tmp_path):
    """Every reader of run.json: scores, tables, resources, an adapter's own settings."""
    from yoyak.config.trained import trained_with

    run = Run("tiny_llama", "chat", "fine_tuned", 42)
    place = tmp_path / run.folder
    (place / "predictions").mkdir(parents=True)
    (place / "final_model").mkdir()
    files = [place / "run.json", place / "predictions" / "run.json"]

    def check(raw):
        for file in files:
            file.write_bytes(raw)
        named = read_or_refused(read_run, files[0])
        cost = read_or_refused(run_rows.training_cost, run, tmp_path)
        rows = read_or_refused(run_rows.resource_rows, run, tmp_path, 8.0)
        trained = read_or_refused(trained_with, place / "final_model")
        if named is not None and cost is not None:
            row = {**run.record(), **cost, "tokenizer": "words", "n": 1}
            read_or_refused(tables.write_table, tmp_path, "rouge", [row], "note")
        if rows is not None:
            read_or_refused(tables.write_table, tmp_path, "resources", rows, "note")
        if trained is not None:
            assert isinstance(trained[0], ModelConfig) and trained[1] in ("instruction", "chat")

    samples = [json.dumps(RECORD, indent=1).encode(), json.dumps(RECORD).encode()]
    fuzz(edited(RECORD) | mutated(samples, TOKENS), check, known=KNOWN_RECORDS)


@pytest.mark.parametrize("name", ["rouge", "resources", "quoted"])
def test_tables(tmp_path, name):
    row = {column: 1 for column in tables.COLUMNS[name]}
    tables.write_table(tmp_path, name, [row, row], "note")
    file = tmp_path / f"{name}.csv"
    sample = file.read_bytes()

    def check(raw):
        file.write_bytes(raw)
        rows = read_or_refused(tables.read_table, file)
        if rows is not None:
            tables.to_markdown(name, rows, "note")
        read_or_refused(tables.read_csv, file, "run it again")

    fuzz(mutated([sample], TOKENS), check, known=KNOWN_TABLES, examples=80)


KNOWN_PREDICTIONS = [
    json.dumps({**LINE, **change}).encode()
    for change in (
        {"prediction": "\ud83d"},
        {"fname": "\ud83d"},
        {"new_tokens": -1},
        {"new_tokens": True},
        {"finish": "x" * 5000},
        {"prompt_tokens": None},
    )
] + [b"[" * 100_000, b"9" * 5000, b"\xff", b""]
KNOWN_RECORDS = [
    json.dumps({**RECORD, **change}).encode()
    for change in (
        {"steps": []},
        {"steps": float("nan")},
        {"wall_seconds": "fast"},
        {"peak_memory_gb": 10**400},
        {"hardware": [1]},
        {"hardware": {"gpu": {"name": 5}}},
        {"run": {"model": [], "variant": 7, "format": {}, "condition": 1, "seed": "x"}},
        {"run": {**RECORD["run"], "seed": 10**400}},
        {"settings": None},
        {"settings": {"model": 5}},
    )
] + [b"[" * 100_000, b"[]", b"\xff"]
KNOWN_TABLES = [b"", b"\xff", b'"', b"model\n1\n", b"a,b\n" + b"x" * 200_000]


def test_a_record_from_before_the_trackers_were_renamed_is_read(tmp_path):
    from yoyak.config.trained import trained_with

    settings = load_config("tiny_llama").model_dump() | {"tracking": {"wandb": True}}
    run = {"model": "tiny_llama", "format": "chat", "condition": "fine_tuned", "seed": 42}
    (tmp_path / "run.json").write_text(json.dumps({"run": run, "settings": settings}))
    assert trained_with(tmp_path / "final_model").lora.r == settings["lora"]["r"]
