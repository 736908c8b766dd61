"""Words of the terminal: progress as the scripts log it, causes, and what a report lacks."""

import io
import logging
from dataclasses import replace
from types import SimpleNamespace

import pytest

from yoyak.config.study import Run, load_study
from yoyak.generation.progress import RowProgress
from yoyak.run.logs import read_progress
from yoyak.run.missing import advice
from yoyak.run.terminal import Terminal, cause


class Usual(logging.StreamHandler):
    """Snakemake's own handler, as far as it is used."""

    def decorate(self, record, message):
        return message


@pytest.fixture
def terminal():
    terminal = Terminal(Usual(io.StringIO()))
    say(terminal, "run_info", stats={"total": 4, "all": 1})
    terminal.usual.stream.truncate(terminal.usual.stream.seek(0))
    yield terminal
    terminal.close()


def say(terminal, event=None, level=logging.INFO, msg="", **fields) -> None:
    content = {"event": event, "levelno": level, "msg": msg, **fields}
    terminal.handle(logging.makeLogRecord(content))


def start(terminal, job: int, name: str, log) -> None:
    say(terminal, "job_info", jobid=job, rule_msg=name, log=[str(log)])


def fail(terminal, job: int, log) -> None:
    fields = {"jobid": job, "rule_name": "train", "rule_msg": None, "log": [str(log)]}
    say(terminal, "job_error", logging.ERROR, **fields)


def end(terminal) -> list[str]:
    say(terminal, msg="Elapsed time: 0:00:01")
    text = "WorkflowError:\nAt least one job did not complete successfully."
    say(terminal, "error", logging.ERROR, text)
    terminal.close()
    return terminal.usual.stream.getvalue().splitlines()


@pytest.fixture
def log(tmp_path):
    file = tmp_path / "job.log"
    file.write_text("12:00:00 step 1/2  loss 1\nerror: a.yaml: key 'b': too many\n")
    return file


def test_rows_are_logged_as_the_terminal_reads_them(capsys):
    progress = RowProgress(3)
    for _ in range(3):
        progress.row()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2  # the first, and the last
    assert read_progress(lines[-1]).startswith("row 3/3 · ")
    assert read_progress(lines[-1]).endswith(" rows/s · 0:00:00 left")


def test_steps_are_logged_as_the_terminal_reads_them(caplog):
    from yoyak.training.progress import ProgressLog

    caplog.set_level(logging.INFO)
    state = SimpleNamespace(global_step=0, max_steps=4)
    progress = ProgressLog()
    progress.on_step_begin(None, state, None)
    state.global_step = 1
    logs = dict(loss=2.5, learning_rate=1e-4, tokens_per_second=1234.5, supervised_tokens=99)
    progress.on_log(None, state, None, logs)
    assert read_progress(caplog.messages[-1]) == "step 1/4 · 1,234 tokens/s · 0:00:00 left"


def test_progress_names_the_job_and_comes_once(terminal, log, monkeypatch):
    monkeypatch.setattr("yoyak.run.terminal.SECONDS", 0.01)
    log.write_text(
        "12:00:00 step 1/9  loss 7.0  lr 0.0  364 tokens/s  6 supervised  left 0:00:17\n"
    )
    start(terminal, 1, "Training a", log)
    for _ in range(200):
        terminal._over.wait(0.01)
        lines = terminal.usual.stream.getvalue().splitlines()
        if len(lines) > 1:
            break
    terminal._over.wait(0.1)
    (_, line) = terminal.usual.stream.getvalue().splitlines()
    assert line[9:] == "Training a: step 1/9 · 364 tokens/s · 0:00:17 left"


def test_several_causes_are_a_line_each_and_a_retry_that_helps_takes_its_own_back(
    terminal, log, tmp_path
):
    other = tmp_path / "other.log"
    other.write_text("Traceback …\n12:00:00 RuntimeError: a fault of ours\n")
    for job, name, file in ((1, "Training a", log), (2, "Training b", other), (3, "c", other)):
        start(terminal, job, name, file)
        fail(terminal, job, file)
    start(terminal, 3, "c", other)
    *before, first, second = end(terminal)
    assert first == "error: Training a: a.yaml: key 'b': too many"
    assert second == "error: Training b: RuntimeError: a fault of ours"
    assert before[-1].endswith("c (attempt 2)")


def test_what_all_jobs_fail_of_is_said_once(terminal, log):
    for job in (1, 2):
        start(terminal, job, f"Training {job}", log)
        fail(terminal, job, log)
    assert [line for line in end(terminal) if line.startswith("error")] == [
        "error: a.yaml: key 'b': too many"
    ]


def test_an_error_that_no_job_explains_is_kept_for_the_end(terminal, log):
    say(terminal, "error", logging.ERROR, "MissingOutputException: x.csv", exception="E")
    assert end(terminal)[-1] == "MissingOutputException: x.csv"


def test_a_job_that_was_killed_is_not_explained_by_its_last_words(log, tmp_path):
    log.write_text("step 1/2\n")
    assert cause(log, 137, None).startswith("ended by SIGKILL from outside")
    assert cause(log, "SIGTERM", None).startswith("ended by SIGTERM from outside")
    assert cause(log, 1, None) == "step 1/2"
    assert cause(tmp_path / "none", 1, None) == "exit code 1"
    assert cause(tmp_path / "none", None, "SLURM status\nis: TIMEOUT") == "SLURM status is: TIMEOUT"


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ([Run("tiny_llama", "chat", "fine_tuned", 42)], "from `"),
        ([Run("tiny_qwen3", "chat")], "remove"),
        ([Run("tiny_qwen3", "chat", "few_shot")], "set few_shot: 0 in config/studies/embedded"),
        (None, "no report is possible"),
    ],
)
def test_what_to_take_out_keeps_the_most(missing, words):
    study = load_study("embedded")
    missing = study.runs() if missing is None else missing
    lines = advice(study, missing)
    assert f"{len(missing)} of {len(study.runs())} runs" in lines[0] and words in lines[1]
    assert len(lines[0]) < 600


def test_one_seed_of_three_costs_a_third(monkeypatch):
    study = load_study("embedded")
    study = replace(study, settings=study.settings.model_copy(update={"seeds": [1, 2, 3]}))
    lines = advice(study, [run for run in study.trainings() if run.seed == 2][:1])
    kept, total = len(study.trainings()) // 3 * 2, len(study.trainings())
    assert "remove 2 from `seeds` in config/studies/embedded.yaml" in lines[1]
    assert f"keeps {kept} of {total} trainings" in lines[1]
    assert advice(study, []) == []
