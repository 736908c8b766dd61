"""What a user reads while a study runs, in real runs: little, and at the end what matters."""

import os
import re
import signal
import subprocess

import pytest
from workflow_project import SMALL

JOBS = 20
STARTED = re.compile(r"^\d\d:\d\d:\d\d +\d+/\d+  (.+)$", flags=re.M)
PROGRESS = re.compile(r"^\d\d:\d\d:\d\d [^/]+: (step|row) \d+/\d+ · .* left$")
LINES = 45  # the plan, and a line a job
NOBODYS = ("Warning", "Failed to load", "deprecated")
TEMPLATES = "examples/tiny_llama/chat/templates/train.safetensors"


def lines_of(shown: str) -> list[str]:
    return [line for line in shown.splitlines() if not PROGRESS.match(line)]


@pytest.fixture
def broken(bare, tmp_path):
    """A project whose first job fails: the training data have one name twice."""
    project = bare.copy(tmp_path / "study")
    rows = "fname,dialogue,summary,topic\na,#Person1#: 안녕,b,c\na,#Person1#: 안녕!,b,c\n"
    project.path("workflow/resources/dialogues/train.csv").write_text(rows, encoding="utf-8")
    return project


def test_a_good_run_is_a_plan_a_line_a_job_and_the_report(finished):
    lines, jobs = lines_of(finished.shown), STARTED.findall(finished.shown)
    assert len(jobs) == len(set(jobs)) == JOBS
    assert len(lines) <= LINES, finished.shown
    assert lines[-1].startswith("Done: results/small-debug/report.html ")
    assert "settings" not in finished.shown
    # The first: other tests look at plans of this project.
    log = min(finished.path(".snakemake/log").glob("*.log"))
    assert "train_llm.py --settings" in log.read_text(encoding="utf-8")  # the whole is kept


def test_a_plan_with_keys_of_pefts_shows_no_warnings_of_its_imports(bare, tmp_path):
    project = bare.copy(tmp_path / "study")
    project.write_study("small", {**SMALL, "overrides": {"lora": {"use_dora": True}}})
    shown = project.run("-n", "--quiet", "rules")
    assert not any(words in shown for words in NOBODYS), shown


def test_logs_hold_no_warnings_that_are_nobodys(finished):
    logs = finished.path("logs").rglob("*.log")
    for text in (finished.shown, *(log.read_text(encoding="utf-8") for log in logs)):
        found = [line for line in text.splitlines() if any(word in line for word in NOBODYS)]
        assert found == []


@pytest.mark.parametrize("options", [(), ("--quiet", "rules", "progress")])
def test_the_cause_of_a_failure_is_last_and_alone(broken, options):
    done = broken.snakemake(*options)
    *before, last = done.stdout.splitlines()
    assert done.returncode == 1
    assert re.match(r"error: .*dialogues/train.csv.*line \d+", last)
    assert last.removeprefix("error: ") not in "\n".join(before)
    assert not re.search(r"error|Error|Traceback", "\n".join(before))
    assert options or "see logs/small-debug/prepare_data.log" in before[-1]


def test_verbose_is_snakemakes_own(broken):
    done = broken.snakemake("--verbose")
    assert done.returncode == 1
    assert "Error in rule prepare_data" in done.stdout and "Complete log" in done.stdout


def test_keep_going_ends_with_how_to_get_a_report(finished, tmp_path):
    project = finished.copy(tmp_path / "study")
    (project.results / TEMPLATES).write_bytes(b"junk")

    done = project.snakemake("--keep-going")

    *_, cause, missing, cure = done.stdout.splitlines()
    assert done.returncode == 1
    assert cause.startswith(f"error: results/small-debug/{TEMPLATES}: cannot be read")
    assert missing.startswith("missing for the report, 1 of 3 runs: tiny_llama-chat-fine_tuned_")
    assert "remove templates from `augmentations` in config/studies/small.yaml" in cure
    project.write_study("small", {**SMALL, "augmentations": ["none"]})
    assert project.planned() == {"compare": 1, "plot": 1, "report": 1, "model_card": 1}


def test_ctrl_c_says_how_to_go_on(bare, tmp_path):
    project = bare.copy(tmp_path / "study")
    snakemake = project.start(
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # nohup ignores it
    )
    lines = []
    for line in snakemake.stdout:
        lines.append(line.rstrip())
        if STARTED.match(lines[-1]) and len(STARTED.findall("\n".join(lines))) == 1:
            os.killpg(snakemake.pid, signal.SIGINT)  # as a terminal does
    assert snakemake.wait() == 1, lines
    assert lines[-1] == "interrupted; the same command resumes it"
    assert not any("rror" in line for line in lines)


def test_done_only_where_a_report_is_up_to_date(finished, tmp_path):
    project = finished.copy(tmp_path / "study")
    report = "Done: results/small-debug/report.html"
    again, part = project.run(), project.run("results/small-debug/data/dev.csv")
    assert "Nothing to be done" in again and again.splitlines()[-1].startswith(report)
    assert "Nothing to be done" in part and "Done:" not in part
    cut = project.run("-R", "plot", "--until", "plot")
    assert cut.splitlines()[-1] == "Done with what was requested; the report was not part of it."
