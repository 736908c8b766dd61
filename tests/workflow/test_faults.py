"""Two Snakemakes at once, a clock set back, a full or read-only disk: whole runs of a study."""

import json
import os
import shutil
import subprocess
import time

import victims
from outputs import Reference
from workflow_project import environment, wait_for

DAY = 86400


def forget(project, *paths: str) -> None:
    for path in paths:
        place = project.results / path
        shutil.rmtree(place) if place.is_dir() else place.unlink()


def start(project, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        project.command(*arguments),
        cwd=project.folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_a_second_snakemake_is_kept_out_and_the_first_goes_on(finished, tmp_path):
    project = finished.copy(tmp_path / "study")
    forget(project, "tables", "plots", "report.html")
    first = start(project)
    locks = project.path(".snakemake/locks")
    wait_for(lambda: locks.is_dir() and any(locks.iterdir()), 120, "the first one's lock")
    second = project.snakemake()
    assert second.returncode != 0 and "Directory cannot be locked" in second.stdout
    assert "--unlock" in second.stdout
    assert first.wait(300) == 0
    reference = Reference(finished)
    assert set(reference.rules) == reference.present(project)
    assert list(reference.faults(project, set(reference.rules))) == []


def test_an_orphan_that_ends_alone_is_not_trained_again(finished, tmp_path):
    """Snakemake is killed, its trainer goes on to the end; the rerun takes over what it trained."""
    project = finished.copy(tmp_path / "study")
    cell = "runs/tiny_llama/default/chat/fine_tuned/seed42"
    forget(project, cell)
    target = f"results/small-debug/{cell}/run.json"
    work = project.results / ".work" / f"train-results-small-debug-{cell.replace('/', '-')}"
    first = start(project, target)
    wait_for(lambda: list(work.glob("*/checkpoint-*")), 300, "a checkpoint")
    first.kill()
    first.wait()
    wait_for(project.path(target).exists, 300, "the orphan's end")
    wait_for(lambda: not victims.jobs(project.folder), 60, "the orphan's end")
    project.run("--unlock")
    project.run(target)
    record = json.loads(project.path(target).read_text())
    assert record["resumed_from_step"] == record["steps"] > 0
    adapter = f"{cell}/final_model/adapter_model.safetensors"
    assert (project.results / adapter).read_bytes() == (finished.results / adapter).read_bytes()
    assert len(list(work.glob("*/checkpoint-*"))) <= 2
    project.run(f"results/small-debug/{cell}/predictions/dev.jsonl")
    assert list(work.glob("*/checkpoint-*")) == []


def test_a_clock_set_back_is_named_before_anything_runs(finished, tmp_path):
    """Snakemake would remove what is made now from files of tomorrow, trainings of hours too."""
    project = finished.copy(tmp_path / "study")
    forget(project, "plots", "report.html")
    later = time.time() + DAY
    for file in (project.results / "tables").iterdir():
        os.utime(file, (later, later))
    stopped = project.snakemake()
    (line,) = (line for line in stopped.stdout.splitlines() if line.startswith("error:"))
    assert stopped.returncode != 0 and "in the future: correct the clock" in line
    cure = line.partition("right now: ")[2]
    assert cure.startswith("find results/small-debug ") and "Drawing" not in stopped.stdout
    subprocess.run(cure, shell=True, check=True, cwd=project.folder)
    project.run()
    assert project.planned() == {}
    assert (project.results / "report.html").is_file()


def test_a_clock_set_back_in_mid_run_costs_no_result(finished, tmp_path):
    """The script settles its inputs' times, so that its output is not older than they are."""
    project = finished.copy(tmp_path / "study")
    scores = project.results / "zero_shot/tiny_llama/chat/scores"
    shutil.rmtree(scores)
    soon = time.time() + 40  # less than what is refused at the start, later than the job's end
    for name in ("data/dev.csv", "zero_shot/tiny_llama/chat/predictions/dev.jsonl"):
        os.utime(project.results / name, (soon, soon))
    project.run("results/small-debug/zero_shot/tiny_llama/chat/scores/run.json")
    assert (scores / "summary.json").is_file()
