"""A settings file edited while a study runs: never a mixture, and never a silent one."""

import json
import os
import subprocess

from workflow_project import environment, wait_for

from yoyak.config.run_settings import keep_settings

MODEL = "config/models/tiny_llama.yaml"
RATE = "learning_rate: 8.0e-3"
BUILT = "logs/small-debug/build_dataset/tiny_llama/chat/none.log"
TABLE = "results/small-debug/tables/rouge.csv"


def rates(project) -> set[float]:
    records = project.results.glob("runs/**/seed42/run.json")
    return {
        json.loads(file.read_text())["settings"]["training"]["learning_rate"] for file in records
    }


def test_an_edit_between_two_jobs_ends_in_the_planned_settings(finished, tmp_path):
    """And once the file is put back there is nothing to do; a lasting edit plans both trainings."""
    project = finished.copy(tmp_path / "study")
    project.forget("examples/tiny_llama/chat/none", "runs/*/*/*/fine_tuned", "tables")
    project.path(BUILT).unlink()
    before = project.path(MODEL).read_text()
    run = project.start(TABLE, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for(lambda: project.path(BUILT).exists() or run.poll() is not None, 300, "the first job")
    project.replace(MODEL, RATE, "learning_rate: 0.77")  # and the training is still to come
    shown = run.communicate(timeout=600)[0]
    assert run.returncode == 0, shown[-3000:]
    assert (project.results / "runs/tiny_llama/default/chat/fine_tuned/seed42/run.json").is_file()
    assert len(rates(project)) == 1 and 0.77 not in rates(project)
    assert project.planned(TABLE)["train"] == 2
    project.path(MODEL).write_text(before)
    assert project.planned(TABLE) == {}


def test_a_job_of_a_cluster_that_finds_other_settings_ends_in_one_line(finished, tmp_path):
    """Its Snakemake reads the settings again; the variable says what the run was planned with."""
    project = finished.copy(tmp_path / "study")
    name, planned = planned_hash(project)
    project.replace(MODEL, RATE, "learning_rate: 0.5")
    done = subprocess.run(
        project.command("-n"), cwd=project.folder, env={**environment(), name: planned},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if "error:" in line]
    assert "the settings of study 'small-debug' were edited after this run was planned" in line


def planned_hash(project) -> tuple[str, str]:
    from yoyak.config.study import load_study

    here, before = os.getcwd(), set(os.environ)
    os.chdir(project.folder)
    try:
        name = keep_settings(load_study("small", debug=True))
        return name, os.environ[name]
    finally:
        os.chdir(here)
        for new in set(os.environ) - before:
            del os.environ[new]


def test_compare_refuses_runs_under_other_settings_or_of_another_commit(finished, tmp_path):
    project = finished.copy(tmp_path / "study")
    record = project.results / "runs/tiny_llama/default/chat/fine_tuned/seed42/run.json"
    content = json.loads(record.read_text())
    content["settings"]["training"]["learning_rate"] = 0.5
    record.write_text(json.dumps(content))
    done = project.snakemake(TABLE)
    assert done.returncode != 0
    assert "error: training.learning_rate is 0.5 in results/small-debug/runs" in done.stdout
    content["settings"]["training"]["learning_rate"] = rates(project).difference({0.5}).pop()
    record.write_text(json.dumps(content | {"checkpoint_commit": "0" * 40}))
    done = project.snakemake(TABLE)
    assert "error: checkpoint_commit is 0000" in done.stdout


def test_looking_at_the_plan_writes_nothing_below_results(bare, tmp_path):
    project = bare.copy(tmp_path / "study")
    project.run("-n")
    assert not project.path("results").exists() and not project.path("logs").exists()
