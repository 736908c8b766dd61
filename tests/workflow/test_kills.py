"""Twice the same, whatever is killed: on the CPU every byte of adapters and tables agrees."""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
from workflow_project import wait_for

CELL = "runs/tiny_llama/default/chat/fine_tuned_templates/seed42"
LOG = "logs/small-debug/train/tiny_llama/default/chat/fine_tuned_templates/seed42.log"
SAME = ("tables/*.csv", "runs/**/final_model/*", "runs/**/*.jsonl", "zero_shot/**/*.jsonl")
SAME += ("runs/**/scores/*.csv", "zero_shot/**/scores/*.csv", "submission/*.csv")
SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY")
TIMED = "resources.csv"  # wall times differ from run to run


def contents(results: Path) -> dict[str, bytes]:
    """Bytes of every result that must not depend on when or how often it was made."""
    files = {path for pattern in SAME for path in results.glob(pattern) if path.is_file()}
    return {
        str(path.relative_to(results)): path.read_bytes()
        for path in files
        if path.name not in (TIMED, ".snakemake_timestamp")
    }


def same(one: Path, other: Path) -> None:
    first, second = contents(one), contents(other)
    assert set(first) == set(second)
    assert any("adapter_model.safetensors" in name for name in first)
    assert [name for name in first if first[name] != second[name]] == []


def checkpoint_of(project):
    """A whole checkpoint of the training in progress, once there is one."""
    return lambda: list((project.results / CELL / ".work").glob("*/checkpoint-*"))


def holder(project) -> int:
    """Process id of the trainer, from the lock that it holds."""
    return int((project.results / CELL / ".work" / "lock").read_text())


@contextlib.contextmanager
def paused_orphan(project, *targets: str):
    """Process id of a trainer stopped at a checkpoint, its Snakemake killed; ended on leaving."""
    project.forget(f"{CELL}/*")
    snakemake = project.start(*targets, start_new_session=True)
    wait_for(checkpoint_of(project), 300, "a checkpoint")
    pid = holder(project)
    os.kill(pid, signal.SIGSTOP)
    try:
        snakemake.kill()
        snakemake.wait()
        project.run("--unlock")
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            os.kill(pid, signal.SIGKILL)


def test_killed_and_run_again_it_is_the_same_and_tells_no_secret(finished, tmp_path, monkeypatch):
    """Snakemake and trainer killed -9 in mid-epoch, then the documented commands.

    The study equals the undisturbed one, with no token of the environment in any file or log.
    """
    for name in SECRETS:
        monkeypatch.setenv(name, f"secret-of-{name}")
    project = finished.copy(tmp_path / "study")
    project.forget(f"{CELL}/*", "tables", "plots", "report.html", "submission")
    project.path(LOG).unlink()
    first = project.start(start_new_session=True)
    wait_for(checkpoint_of(project), 600, "a checkpoint")
    first.kill()
    os.kill(holder(project), signal.SIGKILL)
    first.wait()
    assert not (project.results / CELL / "final_model").exists()

    locked = project.snakemake()
    assert locked.returncode != 0
    assert "--unlock" in locked.stdout
    project.run("--unlock")
    project.run()
    assert "resuming from step" in project.path(LOG).read_text(encoding="utf-8")
    same(finished.results, project.results)
    assert project.planned() == {}
    files = [path for path in project.folder.rglob("*") if path.is_file()]
    assert {"report.html", "run.json", Path(LOG).name} <= {path.name for path in files}
    assert [path for path in files if b"secret-of-" in path.read_bytes()] == []


def test_orphaned_trainer_keeps_others_out_and_is_named(finished, tmp_path):
    """Snakemake alone is killed: its trainer goes on, and a second one says which process it is."""
    project = finished.copy(tmp_path / "study")
    target = f"results/small-debug/{CELL}/run.json"
    with paused_orphan(project, target) as pid:
        refused = project.snakemake(target)
        assert refused.returncode != 0
        assert f"process {pid} is still working" in refused.stdout
    project.run(target)
    adapter = f"{CELL}/final_model/adapter_model.safetensors"
    assert (project.results / adapter).read_bytes() == (finished.results / adapter).read_bytes()


@pytest.mark.slow
def test_an_orphan_that_ends_after_a_refused_restart_leaves_the_same_records(finished, tmp_path):
    """Then Snakemake takes its outputs for complete, and never marked the adapter's folder."""
    project = finished.copy(tmp_path / "study")
    with paused_orphan(project) as pid:
        assert project.snakemake().returncode != 0
        os.kill(pid, signal.SIGCONT)
        wait_for(lambda: not Path(f"/proc/{pid}").exists(), 300, "the orphan's end")
    project.run()
    assert not (project.results / CELL / "final_model" / ".snakemake_timestamp").exists()
    records = [
        json.loads((study.results / CELL / "predictions" / "run.json").read_text(encoding="utf-8"))
        for study in (project, finished)
    ]
    assert records[0]["inputs"] == records[1]["inputs"]


@pytest.mark.slow
def test_a_second_run_from_scratch_gives_the_same_bytes(finished, bare, tmp_path):
    project = bare.copy(tmp_path / "study")
    project.run()
    same(finished.results, project.results)
