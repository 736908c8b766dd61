"""score.py and submission.py: from predictions, good and bad, to scores and CSVs."""

import csv
import json
import random
import shutil
import subprocess
import sys
import time

import pytest
import score
import submission
from fixture_results import fixture_dialogues, fixture_study, write_data

from yoyak.data.dialogues import Dialogue
from yoyak.errors import PROJECT_ROOT, UserError
from yoyak.scoring.predictions import Prediction
from yoyak.scoring.scores import score_run

METRIC = fixture_study(resamples=300).settings.metric
CELL = "runs/tiny_llama/default/chat/fine_tuned/seed42"


@pytest.fixture
def results(scored_results):
    return scored_results


@pytest.fixture
def copied(results, tmp_path):
    """A copy of one cell and the data, to spoil."""
    shutil.copytree(results / "data", tmp_path / "data")
    shutil.copytree(results / CELL / "predictions", tmp_path / "predictions")
    return tmp_path


def score_copy(folder):
    score.score(METRIC, "ko", folder / "predictions", folder / "data", folder / "scores")


def predictions_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_predictions(path, rows):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def test_summary_and_record_carry_the_signature(results):
    summary = json.loads((results / CELL / "scores" / "summary.json").read_text(encoding="utf-8"))
    record = json.loads((results / CELL / "scores" / "run.json").read_text(encoding="utf-8"))
    for name, scores in summary["scores"].items():
        own = "metric:chrF2" if name == "chrf" else f"tok:{name}"
        assert own in scores["signature"]
        assert record["signatures"][name] == scores["signature"]
    assert set(record["inputs"]) and record["step"] == "score"
    assert summary["run"] == record["run"]


def test_empty_predictions_count_and_score_zero(copied):
    path = copied / "predictions" / "dev.jsonl"
    write_predictions(path, [row | {"prediction": " "} for row in predictions_of(path)])
    score_copy(copied)
    summary = json.loads((copied / "scores" / "summary.json").read_text(encoding="utf-8"))
    assert summary["empty"] == summary["n"] == 24
    assert summary["diagnostics"]["empty_rate"] == 1
    found = summary["scores"]["morphemes"]["all"]
    assert found["mean"] == found["ci_low"] == found["ci_high"] == 0


def test_order_of_predictions_does_not_matter(copied, results):
    path = copied / "predictions" / "dev.jsonl"
    write_predictions(path, predictions_of(path)[::-1])
    score_copy(copied)
    written = (copied / "scores" / "dialogues.csv").read_bytes()
    assert written == (results / CELL / "scores" / "dialogues.csv").read_bytes()


def drop_one(rows):
    return rows[1:]


def add_one(rows):
    return [*rows, rows[0] | {"fname": "stranger"}]


def repeat_one(rows):
    return [*rows, rows[0]]


def spoil_finish(rows):
    return [rows[0] | {"finish": "bored"}, *rows[1:]]


def spoil_type(rows):
    return [rows[0] | {"prediction": None}, *rows[1:]]


def lose_key(rows):
    return [{key: value for key, value in rows[0].items() if key != "new_tokens"}, *rows[1:]]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (drop_one, "1 dialogues have none \\(dev_0\\)"),
        (add_one, "1 are of other dialogues \\(stranger\\)"),
        (repeat_one, "line 25: fname 'dev_0' is already on line 1"),
        (spoil_finish, "line 1: finish must be stop or length, found 'bored'"),
        (spoil_type, "line 1: prediction must be str"),
        (lose_key, "line 1: key 'new_tokens' is missing"),
        (lambda rows: [], "contains no predictions"),
    ],
)
def test_predictions_that_do_not_match_are_refused(copied, spoil, words):
    path = copied / "predictions" / "dev.jsonl"
    write_predictions(path, spoil(predictions_of(path)))
    with pytest.raises(UserError, match=words):
        score_copy(copied)
    assert not (copied / "scores").exists()


def test_a_line_cut_short_is_refused(copied):
    path = copied / "predictions" / "dev.jsonl"
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    with pytest.raises(UserError, match="line 24: not JSON"):
        score_copy(copied)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"run": {"model": "m"}}'])
def test_predictions_without_a_record_are_refused(copied, content):
    path = copied / "predictions" / "run.json"
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="run.json"):
        score_copy(copied)


def test_submission_keeps_order_and_text(results, tmp_path):
    predictions = results / CELL / "predictions"
    output = tmp_path / "deep" / "out.csv"
    submission.main(
        [
            "--predictions",
            str(predictions),
            "--data",
            str(results / "data"),
            "--output",
            str(output),
        ]
    )
    with open(output, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = predictions_of(predictions / "test.jsonl")
    assert [row["fname"] for row in rows] == [row["fname"] for row in expected]
    assert [row["summary"].split() for row in rows] == [
        row["prediction"].split() for row in expected
    ]


def test_submission_refuses_predictions_of_other_dialogues(results, tmp_path):
    write_data(tmp_path / "data", fixture_dialogues(rows=5))
    with pytest.raises(UserError, match="do not match"):
        submission.main(
            [
                *("--predictions", str(results / CELL / "predictions")),
                *("--data", str(tmp_path / "data"), "--output", str(tmp_path / "out.csv")),
            ]
        )


@pytest.mark.parametrize("script", ["floors", "score", "compare", "submission"])
def test_scripts_start_without_the_heavy_libraries(script):
    code = (
        f"import sys; sys.path.insert(0, 'workflow/scripts'); import {script}; "
        "print(sorted({'torch', 'transformers', 'peft', 'kiwipiepy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT_ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path):
    script = PROJECT_ROOT / "workflow" / "scripts" / "submission.py"
    command = [sys.executable, script, "--predictions", tmp_path, "--output", tmp_path / "out.csv"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.slow
def test_500_predictions_score_in_40_seconds_of_one_core():
    """3 references, 6 tokenizers and chrF, 10,000 resamples; processor time, since others may be at
    work."""
    generator = random.Random(1)
    words = [word for row in fixture_dialogues() for word in row.dialogue.split()]

    def text(length):
        return " ".join(generator.choice(words) for _ in range(length))

    dialogues = [
        Dialogue(f"d{index}", text(120), tuple(text(18) for _ in range(3)), group="seen")
        for index in range(500)
    ]
    predictions = [Prediction(row.fname, text(18), 1, 1, "stop", False) for row in dialogues]
    names = [*METRIC.tokenizers, "morphemes_no_tags", "mecab"]
    metric = METRIC.model_copy(update={"resamples": 10_000, "tokenizers": names})
    started = time.process_time()
    score_run(predictions, dialogues, metric, {}, "ko", [])
    assert time.process_time() - started < 40
