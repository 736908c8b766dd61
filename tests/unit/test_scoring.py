"""score.py, compare.py and submission.py over a whole results folder, good and bad."""

import csv
import io
import json
import shutil
import subprocess
import sys

import compare
import pytest
import score
import submission
from fixture_results import build_results, fixture_dialogues, fixture_study, write_data

from yoyak.reporting.cells import QUOTED, result_cells
from yoyak.reporting.tables import COLUMNS, TEXT, csv_cell, read_table, reading_cell
from yoyak.settings.config import PROJECT_ROOT, UserError

STUDY = fixture_study(resamples=300)
METRIC = STUDY.settings["metric"]
CELL = "runs/tiny_llama/chat/none/seed42"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return build_results(tmp_path_factory.mktemp("study") / "results" / STUDY.name, STUDY)


@pytest.fixture
def copied(results, tmp_path):
    """A copy of one cell and the data, to spoil."""
    shutil.copytree(results / "data", tmp_path / "data")
    shutil.copytree(results / CELL / "predictions", tmp_path / "predictions")
    return tmp_path


def score_copy(folder, metric=METRIC):
    score.score(metric, folder / "predictions", folder / "data", folder / "scores")


def predictions_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_predictions(path, rows):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def test_every_table_has_its_columns_and_rows(results):
    tables = {path.stem for path in (results / "tables").glob("*.csv")}
    assert tables == set(COLUMNS) - {"seeds"}  # one seed
    counts = {name: len(read_table(results / "tables" / f"{name}.csv")) for name in tables}
    cells, tokenizers = 12, 4
    assert counts["rouge"] == cells * tokenizers
    assert counts["groups"] == cells * tokenizers * 2
    assert counts["differences"] == (8 + 4 + 6) * tokenizers
    assert counts["group_differences"] == 2 * counts["differences"]
    assert counts["context"] == 5 * tokenizers * 3
    assert counts["diagnostics"] == cells
    assert counts["resources"] == 4 + 2 * 8
    for name in tables:
        assert (results / "tables" / f"{name}.md").read_text(encoding="utf-8").startswith("# ")


def test_csv_cells_are_numbers_or_names(results):
    for path in (results / "tables").glob("*.csv"):
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                for column, cell in row.items():
                    if column not in TEXT and cell:
                        float(cell)
                    assert cell[:1] not in tuple("=+@\t\r")


def test_rouge_rows_agree_with_themselves_and_with_the_dialogues(results):
    with open(results / CELL / "scores" / "dialogues.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["tokenizer"] == "morphemes"]
    assert len(rows) == 24
    (table_row,) = (
        row
        for row in read_table(results / "tables" / "rouge.csv")
        if (row["model"], row["format"], row["condition"], row["tokenizer"])
        == ("tiny_llama", "chat", "none", "morphemes")
    )
    for measure in ("rouge1", "rouge2", "rougeL", "rouge_mean"):
        mean = 100 * sum(float(row[measure]) for row in rows) / len(rows)
        assert table_row[measure] == pytest.approx(mean, abs=1e-4)
    parts = [table_row[key] for key in ("rouge1", "rouge2", "rougeL")]
    assert table_row["rouge_sum"] == pytest.approx(sum(parts), abs=2e-4)
    assert table_row["ci_low"] < table_row["rouge_mean"] < table_row["ci_high"]
    assert (table_row["seed"], table_row["steps"]) == (42, 60)
    zero_shot = read_table(results / "tables" / "rouge.csv")[0]
    assert zero_shot["condition"] == "zero_shot"
    assert (zero_shot["seed"], zero_shot["steps"], zero_shot["supervised_tokens"]) == (None,) * 3


def test_differences_are_the_differences_of_the_table(results):
    means = {
        (*(row[key] for key in ("model", "format", "condition", "seed")), row["tokenizer"]): row
        for row in read_table(results / "tables" / "rouge.csv")
    }
    rows = read_table(results / "tables" / "differences.csv")
    for row in rows:
        seed = row["seed"]
        key = [row["model"], row["format"], row["condition"], seed, row["tokenizer"]]
        other = list(key)
        if row["comparison"] == "fine_tuned-zero_shot":
            other[2:4] = ["zero_shot", None]
        elif row["comparison"] == "templates-none":
            other[2] = "none"
        else:
            other[1] = "instruction"
        expected = means[tuple(key)]["rouge_mean"] - means[tuple(other)]["rouge_mean"]
        assert row["difference"] == pytest.approx(expected, abs=2e-4)
        assert row["ci_low"] <= row["difference"] <= row["ci_high"]
        assert row["p_value"] <= row["p_holm"] <= 1
        assert "300 resamples" in row["method"]
        assert f"Holm over {len(rows)}" in row["method"]
    tuned = [row for row in rows if row["comparison"] == "fine_tuned-zero_shot"]
    assert all(row["p_holm"] < 0.05 and row["ci_low"] > 0 for row in tuned)  # the fixture's gap


def test_running_again_gives_the_same_bytes(results, tmp_path):
    compare.compare(STUDY, results, tmp_path / "tables")
    for path in sorted((results / "tables").iterdir()):
        if path.name != "run.json":
            assert (tmp_path / "tables" / path.name).read_bytes() == path.read_bytes()


def test_a_group_row_is_that_group_alone(copied, results):
    groups = read_table(results / "tables" / "groups.csv")
    assert {row["group"]: row["n"] for row in groups} == {"seen": 16, "unseen": 8}


def test_summary_and_record_carry_the_signature(results):
    summary = json.loads((results / CELL / "scores" / "summary.json").read_text(encoding="utf-8"))
    record = json.loads((results / CELL / "scores" / "run.json").read_text(encoding="utf-8"))
    for name, scores in summary["tokenizers"].items():
        assert f"tok:{name}" in scores["signature"]
        assert record["signatures"][name] == scores["signature"]
    assert set(record["inputs"]) and record["step"] == "score"
    assert summary["cell"] == record["cell"]


def test_empty_predictions_count_and_score_zero(copied):
    path = copied / "predictions" / "dev.jsonl"
    write_predictions(path, [row | {"prediction": " "} for row in predictions_of(path)])
    score_copy(copied)
    summary = json.loads((copied / "scores" / "summary.json").read_text(encoding="utf-8"))
    assert summary["empty"] == summary["n"] == 24
    assert summary["diagnostics"]["empty_rate"] == 1
    found = summary["tokenizers"]["morphemes"]["all"]
    assert found["rouge_mean"] == found["ci_low"] == found["ci_high"] == 0


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
        (repeat_one, "line 25: fname 'dev_0' stands on line 1 already"),
        (spoil_finish, "line 1: finish must be stop or length, found 'bored'"),
        (spoil_type, "line 1: prediction must be str"),
        (lose_key, "line 1: key 'new_tokens' is missing"),
        (lambda rows: [], "holds no prediction"),
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


@pytest.mark.parametrize("content", [None, "{", "[]", '{"cell": {"model": "m"}}'])
def test_predictions_without_a_record_are_refused(copied, content):
    path = copied / "predictions" / "run.json"
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="run.json"):
        score_copy(copied)


def spoil_results(results, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    return folder


def test_compare_names_a_cell_that_is_not_scored(results, tmp_path):
    folder = spoil_results(results, tmp_path)
    shutil.rmtree(folder / CELL / "scores")
    with pytest.raises(UserError, match="chat/none/seed42/scores/summary.json: no such file"):
        compare.compare(STUDY, folder, folder / "tables")


def test_compare_refuses_scores_of_other_data(results, tmp_path):
    folder = spoil_results(results, tmp_path)
    shutil.rmtree(folder / "data")
    write_data(folder / "data", fixture_dialogues(rows=20))
    with pytest.raises(UserError, match="not the dialogues of data/dev.csv"):
        compare.compare(STUDY, folder, folder / "tables")


@pytest.mark.parametrize("key", ["resamples", "seed"])
def test_compare_refuses_scores_under_other_settings(results, tmp_path, key):
    other = fixture_study(resamples=300)
    other.settings["metric"][key] += 1
    with pytest.raises(UserError, match="scored with other metric settings"):
        compare.compare(other, results, tmp_path / "tables")


def test_compare_refuses_different_signatures(results, tmp_path):
    folder = spoil_results(results, tmp_path)
    path = folder / CELL / "scores" / "summary.json"
    path.write_text(path.read_text(encoding="utf-8").replace("kiwipiepy-", "kiwipiepy-0.0."))
    with pytest.raises(UserError, match="signatures in summary.json differ"):
        compare.compare(STUDY, folder, folder / "tables")


def test_several_seeds_are_taken_together(tmp_path):
    study = fixture_study(
        models=("tiny_llama",),
        formats=("chat",),
        seeds=(1, 2, 3),
        tokenizers=("words",),
        resamples=200,
    )
    results = build_results(tmp_path / "results", study, rows=12)
    rows = read_table(results / "tables" / "seeds.csv")
    assert [row["condition"] for row in rows] == ["none", "templates"]
    of_seeds = [
        row["rouge_mean"]
        for row in read_table(results / "tables" / "rouge.csv")
        if row["condition"] == "none"
    ]
    mean = sum(of_seeds) / 3
    assert rows[0]["rouge_mean"] == pytest.approx(mean, abs=1e-3)
    sd = (sum((value - mean) ** 2 for value in of_seeds) / 2) ** 0.5
    assert rows[0]["sd"] == pytest.approx(sd, abs=1e-3)
    assert rows[0]["seeds"] == 3
    assert rows[0]["difference_ci_low"] < rows[0]["difference"] < rows[0]["difference_ci_high"]


def test_one_reference_and_no_groups(tmp_path):
    study = fixture_study(
        models=("tiny_llama",), formats=("chat",), tokenizers=("words",), resamples=200
    )
    folder = tmp_path / "results"
    results = build_results(folder, study, rows=10, references=1)
    names = {row["name"] for row in read_table(results / "tables" / "context.csv")}
    assert "ceiling_references" not in names
    for split in ("dev",):
        path = folder / "data" / f"{split}.csv"
        path.write_text(
            path.read_text(encoding="utf-8").replace(",seen\n", ",\n"), encoding="utf-8"
        )
    for cell in result_cells(study, folder):
        metric = study.settings["metric"]
        score.score(metric, cell.folder / "predictions", folder / "data", cell.folder / "scores")
    compare.compare(study, folder, folder / "tables")
    assert read_table(folder / "tables" / "groups.csv") == []
    assert read_table(folder / "tables" / "group_differences.csv") == []
    assert "No rows" in (folder / "tables" / "groups.md").read_text(encoding="utf-8")


def test_one_dialogue_has_scores_but_no_interval(tmp_path):
    study = fixture_study(
        models=("tiny_llama",), formats=("chat",), tokenizers=("words",), resamples=200
    )
    results = build_results(tmp_path / "results", study, rows=1)
    row = read_table(results / "tables" / "rouge.csv")[1]
    assert row["n"] == 1
    assert row["rouge_mean"] is not None
    assert row["ci_low"] is row["ci_high"] is None


def test_quoted_figures_do_not_add_up(results):
    rows = read_table(results / "tables" / "quoted.csv")
    assert len(rows) == len(QUOTED)
    for row in rows:
        if row["rouge1"] is not None:
            parts = row["rouge1"] + row["rouge2"] + row["rougeL"]
            assert f"{parts:.2f}" in row["note"]
            assert abs(parts - row["sum_as_quoted"]) > 1
    assert [row["sum_as_quoted"] for row in rows] == [49.52, 45.02, 94.51, 95.0]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_of_text_is_a_formula(text):
    assert csv_cell("group", text)[0] == "'"
    predicted = [submission.Prediction(text, text, 1, 1, "stop", False)]
    (row,) = csv.DictReader(io.StringIO(submission.submission_csv(predicted), newline=""))
    assert row["summary"][:1] not in tuple("=+-@\t\r")
    assert row["fname"][:1] not in tuple("=+-@\t\r")


def test_negative_numbers_stay_numbers():
    assert csv_cell("difference", -1.25) == "-1.2500"
    assert csv_cell("difference", -0.00001) == "0.0000"
    assert csv_cell("seed", None) == ""


def test_markdown_escapes_names():
    assert reading_cell("group", "a|<b>\n&") == "a\\|&lt;b> &amp;"
    assert reading_cell("supervised_tokens", 1234567) == "1,234,567"
    assert reading_cell("rouge_mean", 12.3456) == "12.35"
    assert reading_cell("ci_low", None) == "–"


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


@pytest.mark.parametrize("script", ["score", "compare", "submission"])
def test_scripts_start_without_the_heavy_libraries(script):
    code = (
        f"import sys; sys.path.insert(0, 'workflow/scripts'); import {script}; "
        "print(sorted({'torch', 'transformers', 'peft', 'pandas', 'kiwipiepy'} & set(sys.modules)))"
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
