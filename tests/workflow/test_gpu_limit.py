"""`--resources gpu=N` against the GPUs that are here: said in words before any job starts."""

import subprocess

import fake_nvml
import pytest
from workflow_project import Project, environment


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    return Project.fresh(tmp_path_factory.mktemp("gpus") / "project")


def start(project: Project, tmp_path, gpus: bool, *arguments: str) -> subprocess.CompletedProcess:
    """Run the first rule only, beside an NVML that shows two GPUs."""
    variables = environment()
    if gpus:
        del variables["CUDA_VISIBLE_DEVICES"]
        variables |= fake_nvml.show(tmp_path, fake_nvml.gpus(("GPU-a-0", 1), ("GPU-b-1", 2)))
    target = "results/small-debug/data/run.json"
    command = project.command(target)
    command = command[: command.index("--cores")] + [*arguments, "--config", "study=small"]
    return subprocess.run(
        [*command, "debug=true", "--forcerun", "prepare_data"],
        cwd=project.folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


def test_more_than_there_are_ends_the_run(project, tmp_path):
    done = start(project, tmp_path, True, "--cores", "8", "--resources", "gpu=4")
    assert done.returncode != 0
    assert "error: --resources gpu=4 asks for more GPUs than this machine shows (2" in done.stdout
    assert "Traceback" not in done.stdout
    assert "Cleaning" not in done.stdout
    # It holds no lock: the corrected command runs at once.
    done = start(project, tmp_path, True, "--cores", "8", "--resources", "gpu=2")
    assert done.returncode == 0, done.stdout
    assert "GPU" not in done.stdout


def test_a_forgotten_limit_is_named(project, tmp_path):
    done = start(project, tmp_path, True, "--cores", "8")
    assert done.returncode == 0, done.stdout
    assert "note: --resources gpu=N is not given" in done.stdout
    assert "add --resources gpu=2" in done.stdout


def test_without_a_gpu_the_cpu_is_named_and_one_is_no_news(project, tmp_path):
    done = start(project, tmp_path, False, "--cores", "8", "--resources", "gpu=3")
    assert done.returncode == 0, done.stdout
    assert "this machine shows no GPU: trainings run on its CPU, as many at once" in done.stdout
    done = start(project, tmp_path, False, "--cores", "2", "--resources", "gpu=1")
    assert "GPU" not in done.stdout
