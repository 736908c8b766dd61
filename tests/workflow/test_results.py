"""A debug study from raw data to report: its files, and where they say that they came from."""

import csv
import json
import shlex
import subprocess
import sys
import zipfile

RUN = "runs/tiny_llama/default/chat/fine_tuned/seed42"
ZERO_SHOT = "zero_shot/tiny_llama/chat"
RECORDED = {"step", "command", "git", "packages", "hardware", "settings", "inputs"}


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_rouge_table_has_a_row_for_each_cell_and_tokenizer(finished):
    table = rows(finished.results / "tables/rouge.csv")
    assert ",".join(table[0]) == (
        "model,variant,format,condition,seed,tokenizer,n,rouge1,rouge2,rougeL,rouge_mean,rouge_sum,"
        "ci_low,ci_high,steps,supervised_tokens"
    )
    cells = {(row["condition"], row["seed"], row["tokenizer"]) for row in table}
    assert cells == {
        (condition, seed, tokenizer)
        for condition, seed in [
            ("zero_shot", ""),
            ("fine_tuned", "42"),
            ("fine_tuned_templates", "42"),
        ]
        for tokenizer in ("morphemes", "characters")
    }
    assert all(row["n"] == "10" for row in table)


def test_every_result_has_its_record(finished):
    folders = ["data", "tables", "examples/tiny_llama/chat/none", RUN]
    folders += [f"{run}/{part}" for run in (RUN, ZERO_SHOT) for part in ("predictions", "scores")]
    for folder in folders:
        record = json.loads((finished.results / folder / "run.json").read_text(encoding="utf-8"))
        assert {"step", "command", "git", "packages", "hardware", "settings", "inputs"} <= set(
            record
        )
        assert str(finished.folder) not in record["command"]


def test_submission_lists_the_test_split(finished):
    wanted = [row["fname"] for row in rows(finished.results / "data/test.csv")]
    for name in ("tiny_llama-chat-zero_shot", "tiny_llama-chat-fine_tuned_templates-seed42"):
        table = rows(finished.results / f"submission/{name}.csv")
        assert [row["fname"] for row in table] == wanted
        assert list(table[0]) == ["fname", "summary"]


def test_report_and_plots_are_there(finished):
    report = (finished.results / "report.html").read_text(encoding="utf-8")
    assert "tiny_llama" in report
    captions = json.loads((finished.results / "plots/captions.json").read_text(encoding="utf-8"))
    for stem in captions:
        assert (finished.results / f"plots/{stem}.svg").stat().st_size > 0
        assert (finished.results / f"plots/{stem}.png").stat().st_size > 0


def test_nothing_unfinished_is_left(finished):
    assert list(finished.results.rglob(".work")) == []


def test_snakemake_report_labels_results(finished, tmp_path):
    """`snakemake --report` takes the same files, and opens with question and answer."""
    project = finished.copy(tmp_path / "study")
    project.run("--report", "report.zip")
    assert project.path("report.zip").stat().st_size > 100_000
    with zipfile.ZipFile(project.path("report.zip")) as archive:
        page = next(name for name in archive.namelist() if name.endswith("report.html"))
        first = archive.read(page).decode("utf-8")
    assert "How much does QLoRA fine-tuning help" in first
    assert "points against the same model zero-shot" in first


def test_a_rule_can_be_pasted_and_run_by_hand(finished, tmp_path):
    """The command that run.json keeps gives the same file again."""
    project = finished.copy(tmp_path / "study")
    scores = project.results / ZERO_SHOT / "scores"
    before = (scores / "dialogues.csv").read_bytes()
    command = json.loads((scores / "run.json").read_text(encoding="utf-8"))["command"]
    (scores / "dialogues.csv").unlink()
    by_hand(project, command)
    assert (scores / "dialogues.csv").read_bytes() == before


def test_an_adapter_is_decoded_and_scored_otherwise_without_training_again(finished, tmp_path):
    """The study's own two commands, with flags behind them."""
    project = finished.copy(tmp_path / "study")
    generate, score = (
        json.loads((finished.results / RUN / part / "run.json").read_text("utf-8"))["command"]
        for part in ("predictions", "scores")
    )
    by_hand(project, generate, "--num_beams", "2", "--length_penalty", "2", "--output-dir", "beams")
    by_hand(project, score, "--predictions", "beams", "--output-dir", "beams_scored")
    record = json.loads(project.path("beams/run.json").read_text(encoding="utf-8"))
    assert record["decoding"]["num_beams"] == 2 and record["decoding"]["length_penalty"] == 2
    assert record["settings"]["generation"]["num_beams"] == 2
    assert (record["engine"], record["engine_check"]["why"]) == ("plain", "generation.num_beams")
    other, own = (
        rows(folder / "dialogues.csv")
        for folder in (project.path("beams_scored"), project.results / RUN / "scores")
    )
    assert [row["fname"] for row in other] == [row["fname"] for row in own] and other != own
    assert project.planned() == {}


def by_hand(project, command, *flags):
    arguments = [sys.executable, *shlex.split(command)[1:], *flags]
    subprocess.run(arguments, cwd=project.folder, check=True, capture_output=True)
