"""train_llm.py on two CPU processes: the files of one, killed or asked to leave at any moment."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import fake_nvml
import pytest
from safetensors.torch import load_file
from workflow_project import environment, wait_for

FILES = ("final_model/adapter_config.json", "final_model/tokenizer.json")


@pytest.fixture(scope="module")
def project(bare, tmp_path_factory):
    """A project without dropout, whose draw is the one thing that two processes do otherwise."""
    project = bare.copy(tmp_path_factory.mktemp("two") / "두 devices")
    project.replace("config/base/causal_lm.yaml", "dropout: 0.05", "dropout: 0.0")
    # The first checkpoint must not be the last one, however fast the machine is.
    project.replace(
        "config/base/causal_lm.yaml", "checkpoint_minutes: 0.02", "checkpoint_minutes: 0.001"
    )
    return project


def command(output: str, devices: str) -> list[str]:
    script = ["workflow/scripts/train_llm.py", "--experiment", "tiny_llama", "--debug"]
    return [sys.executable, *script, "--devices", devices, "--output-dir", output]


def train(project, output: str, devices: str = "2") -> subprocess.CompletedProcess:
    return subprocess.run(
        command(output, devices), cwd=project.folder, env=environment(), capture_output=True,
        text=True,
    )  # fmt: skip


def start(project, output: str) -> subprocess.Popen:
    return subprocess.Popen(
        command(output, "2"), cwd=project.folder, env=environment(), stderr=subprocess.DEVNULL
    )


def checkpoints(project) -> list[Path]:
    return list(project.folder.glob("*/.work/*/checkpoint-*"))


def children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rsplit(")", 1)[1].split()
        except OSError:  # it has just ended
            continue
        if int(fields[1]) == parent:
            found.append(int(status.parent.name))
    return found


def adapter(project, output: str) -> bytes:
    return project.path(f"{output}/final_model/adapter_model.safetensors").read_bytes()


def close(project, output: str, expected: str) -> bool:
    """Whether two adapters are equal to rounding, which 25 steps at a large rate amplify."""
    left, right = (
        load_file(project.path(f"{folder}/final_model/adapter_model.safetensors"))
        for folder in (output, expected)
    )
    return all((left[name] - part).norm() < 1e-3 * part.norm() for name, part in right.items())


def killed(project, output: str) -> None:
    """Start a training and end its parent with SIGKILL at the first checkpoint."""
    parent = start(project, output)
    wait_for(lambda: checkpoints(project), 300, "a checkpoint")
    processes = children(parent.pid)
    assert len(processes) >= 2
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(Path(f"/proc/{p}").exists() for p in processes), 10, "their end")


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_files_of_one_process(project):
    killed(project, "two")
    done = train(project, "two")
    assert done.returncode == 0, done.stderr
    for once in ("resuming from step", "selection loss", "wrote two"):
        assert done.stderr.count(once) == 1  # one process speaks
    assert not checkpoints(project)

    alone = train(project, "one", "1")
    assert alone.returncode == 0, alone.stderr
    for name in FILES:
        files = [project.path(f"{folder}/{name}") for folder in ("one", "two")]
        assert files[0].read_bytes() == files[1].read_bytes()
    assert close(project, "two", "one")
    rows = [project.path(f"{folder}/training_log.csv").read_text().splitlines()
            for folder in ("one", "two")]  # fmt: skip
    assert len(rows[0]) == len(rows[1]) == 1 + 25
    record = json.loads(project.path("two/run.json").read_text())
    assert record["execution"]["devices"] == 2 and record["steps"] == 25
    assert record["resumed_from_step"] > 0
    assert record["command"].endswith("--devices 2 --output-dir two")


@pytest.mark.slow
def test_killed_then_asked_to_leave_then_finished_gives_the_same_bytes(project):
    done = train(project, "undisturbed")
    assert done.returncode == 0, done.stderr
    killed(project, "broken")
    kept = max(checkpoints(project), key=os.path.getmtime)
    second = start(project, "broken")
    # Removed once newer ones are there: so it has resumed and trains.
    wait_for(lambda: second.poll() is not None or not kept.exists(), 300, "a newer checkpoint")
    second.send_signal(signal.SIGTERM)
    assert second.wait(120) == 75
    assert checkpoints(project) and not project.path("broken/final_model").exists()

    third = train(project, "broken")
    assert third.returncode == 0, third.stderr
    assert adapter(project, "broken") == adapter(project, "undisturbed")


@pytest.mark.slow
def test_a_training_goes_on_with_another_number_of_devices(project):
    first = start(project, "moved")
    wait_for(lambda: checkpoints(project), 300, "a checkpoint")
    first.terminate()
    assert first.wait(120) == 75
    done = train(project, "moved", "1")
    assert done.returncode == 0, done.stderr
    assert "resuming from step" in done.stderr
    alone = train(project, "unmoved", "1")
    assert alone.returncode == 0, alone.stderr
    assert close(project, "moved", "unmoved")


@pytest.mark.parametrize(
    "devices, gpus, words",
    [
        ("0", 0, "execution.devices: found 0, must be at least 1"),
        ("-1", 0, "execution.devices: found -1, must be at least 1"),
        ("two", 0, "argument --devices: invalid int value: 'two'"),
        ("3", 2, "execution.devices: 3 GPUs were requested, but this job sees 2"),
    ],
)
def test_bad_numbers_are_refused_in_a_line(project, tmp_path, devices, gpus, words):
    found = fake_nvml.gpus(*((f"GPU-{number}", 80000) for number in range(gpus)))
    shown = environment() | fake_nvml.show(tmp_path, found)
    shown.pop("CUDA_VISIBLE_DEVICES")
    done = subprocess.run(
        command("bad", devices), cwd=project.folder, env=shown, capture_output=True, text=True
    )
    assert done.returncode == 2 and words in done.stderr
    errors = [line for line in done.stderr.splitlines() if "error: " in line]
    assert len(errors) == 1 and "Traceback" not in done.stderr
    shutil.rmtree(project.path("bad"), ignore_errors=True)
