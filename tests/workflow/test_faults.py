"""Two Snakemakes at once, a Snakemake that is killed beside its trainer: whole runs of a study."""

import subprocess
import sys

import victims
from outputs import Reference
from workflow_project import environment, wait_for


def test_a_second_snakemake_is_kept_out_and_the_first_goes_on(finished, tmp_path):
    project = finished.copy(tmp_path / "study")
    project.forget("tables", "plots", "report.html")
    first = project.start()
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
    project.forget(cell)
    target = f"results/small-debug/{cell}/run.json"
    work = project.results / cell / ".work"
    first = project.start(target)
    wait_for(lambda: list(work.glob("*/checkpoint-*")), 300, "a checkpoint")
    first.kill()
    first.wait()
    wait_for(project.path(target).exists, 300, "the orphan's end")
    wait_for(lambda: not victims.jobs(project.folder), 60, "the orphan's end")
    project.run("--unlock")
    project.run(target)
    log = project.path("logs/small-debug/train/tiny_llama/default/chat/fine_tuned/seed42.log")
    assert "has finished before" in log.read_text(encoding="utf-8")
    adapter = f"{cell}/final_model/adapter_model.safetensors"
    assert (project.results / adapter).read_bytes() == (finished.results / adapter).read_bytes()
    assert not work.exists(), "Snakemake knows now that the outputs are there"


def test_a_snakemake_killed_after_its_last_job_leaves_its_checkpoints_to_the_next(
    finished, tmp_path
):
    """The next has nothing to do, and Snakemake calls no onsuccess then."""
    project = finished.copy(tmp_path / "study")
    work = project.results / "runs/tiny_llama/default/chat/fine_tuned/seed42/.work"
    (work / "0123abc" / "checkpoint-2").mkdir(parents=True)
    (work / "lock").write_text("4194305")  # of a process that has ended
    project.run("-n")
    assert work.is_dir(), "a dry run removes nothing"
    assert "Done: results/small-debug/report.html" in project.run()
    assert not work.exists()


def test_a_result_that_was_written_to_is_made_again_not_put_into_place(finished, tmp_path):
    """Until the run ends well, what a finished training keeps is linked to what it published."""
    command = [
        *(sys.executable, "workflow/scripts/train_llm.py", "--study", "small", "--debug"),
        *("--experiment", "tiny_llama", "--format", "chat", "--output-dir", str(tmp_path / "run")),
        *("--examples", "results/small-debug/examples/tiny_llama/chat/none"),
    ]
    adapter = tmp_path / "run" / "final_model" / "adapter_model.safetensors"
    whole = b""
    for said in ("wrote", "finished before", "was changed after the training"):
        done = subprocess.run(
            command, cwd=finished.folder, env=environment(), capture_output=True, text=True
        )
        assert done.returncode == 0 and said in done.stderr, done.stderr[-3000:]
        whole = whole or adapter.read_bytes()
        assert adapter.read_bytes() == whole
        if said == "finished before":
            with open(adapter, "r+b") as file:
                file.write(b"damaged")
