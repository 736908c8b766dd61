"""A study through profiles/slurm on a real SLURM with two made-up GPUs; trainings are cancelled."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from local_slurm import LocalSlurm, local_slurm, wait_until, why_not
from workflow_project import Project, environment

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(why_not() is not None, reason=f"no SLURM can be started: {why_not()}"),
]
SAME = ("tables/rouge.csv", "runs/**/adapter_model.safetensors", "**/predictions/*.jsonl")


def processes(variable: str) -> dict[int, dict[str, str]]:
    """Environment of each process that has this `NAME=value` in it, by process id."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            entries = file.read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended
            continue
        if variable in entries:
            found[int(file.parent.name)] = dict(
                entry.split("=", 1) for entry in entries if "=" in entry
            )
    return found


def work_of(project: Project, condition: str) -> Path:
    return project.results / f"runs/tiny_llama/default/chat/{condition}/seed42/.work"


class Trainer:
    """A training in a SLURM job, stopped in mid-epoch until it is cancelled."""

    def __init__(self, project: Project, condition: str):
        self.work = work_of(project, condition)
        self.pid = int((self.work / "lock").read_text())
        os.kill(self.pid, signal.SIGSTOP)
        raw = Path(f"/proc/{self.pid}/environ").read_bytes().decode()
        self.environment = dict(entry.split("=", 1) for entry in raw.split("\0") if "=" in entry)
        self.job = self.environment["SLURM_JOB_ID"]

    def cancel(self, cluster: LocalSlurm, name: str) -> None:
        """`scancel` with this signal, which the training then finds waiting when it goes on."""
        cluster.run("scancel", f"--signal={name}", self.job)
        os.kill(self.pid, signal.SIGCONT)

    @staticmethod
    def has_checkpoint(project: Project, condition: str):
        return lambda: list(work_of(project, condition).glob("*/checkpoint-*"))

    @staticmethod
    def has_started(project: Project, condition: str):
        log = project.path(f"logs/small-debug/train/tiny_llama/default/chat/{condition}/seed42.log")
        return lambda: log.exists() and " step 1/" in log.read_text(encoding="utf-8")


def snakemake(*arguments: str) -> list[str]:
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm"]
    settings = ["--config", "study=small", "debug=true"]
    # A cluster that keeps no accounts is asked by squeue; and a test cannot wait for long.
    often = ["--slurm-status-command=squeue", "--slurm-init-seconds-before-status-checks=1"]
    return [*command, *often, "--seconds-between-status-checks=1", *arguments, *settings]


def same(one: Path, other: Path) -> None:
    files = sorted(file.relative_to(one) for pattern in SAME for file in one.glob(pattern))
    assert len(files) == 1 + 2 + 6, files
    different = [file for file in files if (one / file).read_bytes() != (other / file).read_bytes()]
    assert different == []


@pytest.mark.slow
def test_a_study_on_a_cluster_equals_the_local_one(finished, tmp_path):
    """Two trainings at once on two GPUs; one is cancelled by TERM, one by KILL; both go on."""
    project = finished.copy(tmp_path / "요약 cluster")
    project.forget("runs", "tables", "benchmarks")
    shutil.rmtree(project.path("logs"))
    log = tmp_path / "snakemake.log"
    with local_slurm(tmp_path / "slurm") as cluster, open(log, "w") as output:
        run = subprocess.Popen(
            snakemake("results/small-debug/tables/rouge.csv"),
            cwd=project.folder,
            env={**environment(), **cluster.environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )

        def wait(condition, what):
            def ended_or_true():
                assert run.poll() is None, log.read_text()[-6000:]
                return condition()

            wait_until(ended_or_true, 400, what, log.read_text)

        try:
            wait(Trainer.has_started(project, "fine_tuned"), "the first training")
            first = Trainer(project, "fine_tuned")
            wait(
                Trainer.has_checkpoint(project, "fine_tuned_templates"),
                "a checkpoint of the second",
            )
            second = Trainer(project, "fine_tuned_templates")

            devices = {one.environment["CUDA_VISIBLE_DEVICES"] for one in (first, second)}
            assert devices == {"0", "1"}
            states = {job["JobId"]: job["JobState"] for job in cluster.jobs()}
            assert states[first.job] == states[second.job] == "RUNNING"

            first.cancel(cluster, "TERM")
            second.cancel(cluster, "KILL")
            assert run.wait(400) == 0, log.read_text()[-6000:]
        finally:
            run.kill()
            run.wait()
        jobs = cluster.jobs()
    same(finished.results, project.results)
    for condition, stopped in (("fine_tuned", first), ("fine_tuned_templates", second)):
        record = project.results / f"runs/tiny_llama/default/chat/{condition}/seed42/run.json"
        assert json.loads(record.read_text())["resumed_from_step"] > 0
        cell = f"rule_train_wildcards_tiny_llama_default_chat_{condition}_42"
        attempts = [job for job in jobs if job["Comment"] == cell]
        assert [job["JobId"] for job in attempts][0] == stopped.job
        limits = [(job["TimeLimit"], job["JobState"] == "COMPLETED") for job in attempts]
        assert limits == [("00:30:00", False), ("01:00:00", True)]
    assert processes(f"SLURM_CONF={cluster.folder / 'slurm.conf'}") == {}


@pytest.mark.slow
def test_settings_edited_while_jobs_are_queued_end_in_one_line(bare, tmp_path):
    """A job that starts afterwards is not run with others; put back, the same command goes on."""
    project = bare.copy(tmp_path / "study")
    model, rate = "config/models/tiny_llama.yaml", "learning_rate: 8.0e-3"
    log = tmp_path / "snakemake.log"
    with local_slurm(tmp_path / "slurm") as cluster, open(log, "w") as output:
        options = {"cwd": project.folder, "env": {**environment(), **cluster.environment}}
        target = "results/small-debug/tables/rouge.csv"
        run = subprocess.Popen(
            snakemake(target), stdout=output, stderr=subprocess.STDOUT, **options
        )
        wait_until(Trainer.has_started(project, "fine_tuned"), 400, "a training", log.read_text)
        project.replace(model, rate, "learning_rate: 0.5")
        assert run.wait(400) != 0, log.read_text()[-6000:]
        said = [
            file.read_text() for file in project.path(".snakemake").rglob("slurm_logs/**/*.log")
        ]
        assert any("were edited after this run was planned" in text for text in said)
        project.replace(model, "learning_rate: 0.5", rate)
        done = subprocess.run(snakemake(target), capture_output=True, text=True, **options)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-6000:]
    records = project.results.glob("runs/**/seed42/run.json")
    rates = {
        json.loads(file.read_text())["settings"]["training"]["learning_rate"] for file in records
    }
    assert rates == {8.0e-3}


def test_the_profile_plans_the_full_study(bare):
    """Nothing is submitted and no data are needed to see the plan."""
    shown = bare.run(
        "-n", "--workflow-profile", "profiles/slurm", "--config", "study=korean_dialogsum"
    )
    for job, count in (("train", 32), ("generate", 32), ("generate_zero_shot", 4), ("score", 36)):
        assert [job, str(count)] in [line.split() for line in shown.splitlines()]
