"""Claiming a GPU, beside a stand-in for NVML that shows what the test says."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from random import Random

import fake_nvml
import pytest
from fake_nvml import gpus

from yoyak.errors import PROJECT_ROOT, UserError
from yoyak.run import devices
from yoyak.run.devices import claim_device, claim_devices

A, B, C = "GPU-aaaa-1", "GPU-bbbb-2", "GPU-cccc-3"
THREE = gpus((A, 1000), (B, 80000), (C, 40000))
FOUR = gpus(*((f"GPU-{name}-{i}", 1000 * i) for i, name in enumerate("abcd")))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Returns a function that says which GPUs there are; locks and devices are the test's own."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "dev").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(devices, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(devices, "pynvml", fake_nvml)
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_STEP_GPUS", "SLURM_JOB_GPUS"):
        monkeypatch.delenv(name, raising=False)

    def shows(found: object) -> None:
        variables = fake_nvml.show(tmp_path, found)
        scripts = str(PROJECT_ROOT / "workflow" / "scripts")
        variables["PYTHONPATH"] += os.pathsep + scripts
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    shows(None)
    return shows


def claimed(wanted="auto", count=1) -> str:
    with claim_devices(wanted, count) as names:
        return os.environ["CUDA_VISIBLE_DEVICES"] if names[0] == "cuda:0" else names[0]


def test_without_a_driver_it_is_the_cpu(machine):
    assert claimed() == "cpu"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_the_emptiest_comes_first(machine):
    machine(THREE)
    assert claimed() == B
    with claim_device() as device:
        assert (device, os.environ["CUDA_VISIBLE_DEVICES"]) == ("cuda:0", B)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_the_cpu_can_be_asked_for(machine):
    machine(THREE)
    assert claimed("cpu") == "cpu"


@pytest.mark.parametrize(
    "allowed, expected",
    [
        ("0,2", C),
        ("0", A),
        (A, A),
        ("GPU-cccc", C),
        (f"{A}, {C}", C),
        ("", "cpu"),
        ("-1", "cpu"),
        ("NoDevFiles", "cpu"),
        ("7", "cpu"),
        ("MIG-11112222-3333", "MIG-11112222-3333"),
        ("MIG-GPU-aaaa-1/7/0", "MIG-GPU-aaaa-1/7/0"),
    ],
)
def test_only_visible_ones_are_taken(machine, monkeypatch, allowed, expected):
    machine(THREE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert claimed() == expected
    assert os.environ["CUDA_VISIBLE_DEVICES"] == allowed


@pytest.mark.parametrize(
    "allowed, wanted, expected",
    [
        (None, "cuda:0", A),
        (None, "cuda:2", C),
        ("2,0", "cuda:0", C),
        ("2,0", "cuda:1", A),
        (None, "cuda", B),
    ],
)
def test_a_number_counts_as_cuda_counts(machine, monkeypatch, allowed, wanted, expected):
    machine(THREE)
    if allowed:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert claimed(wanted) == expected


@pytest.mark.parametrize("wanted", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there_is_an_error(machine, wanted):
    with pytest.raises(UserError, match=r"execution.device: '.*' was requested.*device: auto"):
        claimed(wanted)
    machine(THREE)
    with pytest.raises(UserError, match="no such GPU"):
        claimed("cuda:3")


def test_a_driver_that_fails_is_no_cpu(machine, tmp_path):
    for fault in ("Driver/library version mismatch", None):
        machine(fault)
        assert claimed() == "cpu"  # a machine without a GPU may have a driver's libraries
        (tmp_path / "dev" / "nvidia0").touch()
        with pytest.raises(UserError, match=f"driver fails .{fault or 'NVML Shared'}.*repair it"):
            claimed()
        (tmp_path / "dev" / "nvidia0").unlink()


def test_a_gpu_that_does_not_tell_its_memory_is_taken_last(machine):
    machine(gpus(("GPU-a", None), ("GPU-b", 1)))
    with holder() as (_, one):
        assert (one, claimed()) == ("GPU-b", "GPU-a")
    machine([])
    assert claimed() == "cpu"


CHILD = """
    import os, sys, time
    from yoyak.run.devices import claim_device
    with claim_device():
        print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
        time.sleep(60)
"""


@contextlib.contextmanager
def holder():
    """Another process that holds a GPU; yields (process, the GPU)."""
    command = [sys.executable, "-c", textwrap.dedent(CHILD)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield child, child.stdout.readline().strip()
    finally:
        child.kill()
        child.communicate()


def test_two_processes_never_share_and_a_killed_one_gives_back(machine):
    machine(THREE)
    with holder() as (first, one), holder() as (_, two), claim_device():
        assert (one, two, os.environ["CUDA_VISIBLE_DEVICES"]) == (B, C, A)
        first.send_signal(signal.SIGKILL)
        first.wait(10)
        del os.environ["CUDA_VISIBLE_DEVICES"]
        assert claimed() == B


def test_all_claimed_is_a_clear_error(machine):
    machine(THREE)
    with (
        holder(),
        holder(),
        holder(),
        pytest.raises(UserError, match=r"3 of 3 GPUs here are in use by other.*wants 1.*gpu=3"),
    ):
        claimed()


def test_the_lock_folder_is_private(machine, tmp_path):
    machine(THREE)
    claimed()
    folder = tmp_path / "tmp" / f"yoyak-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    with pytest.raises(UserError, match="you alone can write"):
        claimed()


def test_a_link_in_its_place_is_refused(machine, tmp_path):
    machine(THREE)
    (tmp_path / "mine").mkdir()
    (tmp_path / "tmp" / f"yoyak-{os.getuid()}").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="you alone can write"):
        claimed()
    assert list((tmp_path / "mine").iterdir()) == []


def test_several_are_the_emptiest_and_all_or_none(machine):
    machine(FOUR)
    with claim_devices("auto", 2) as first:
        assert first == ["cuda:0", "cuda:1"]
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-d-3,GPU-c-2"
        assert all(os.fstat(number) for number in first.locks)
        del os.environ["CUDA_VISIBLE_DEVICES"]
        with pytest.raises(UserError, match=r"2 of 4 GPUs here are claimed.*wants 3.*gpu=4"):
            claimed("auto", 3)
        assert claimed("auto", 2) == "GPU-b-1,GPU-a-0"  # the refused job holds nothing
    assert claimed("auto", 4).count(",") == 3


def test_more_than_there_are_is_an_error(machine):
    machine(FOUR)
    with pytest.raises(UserError, match="execution.devices: 5 GPUs were requested.*sees 4"):
        claimed("auto", 5)
    with pytest.raises(UserError, match="'cuda:1' names one GPU and execution.devices asks for 2"):
        claimed("cuda:1", 2)


def test_the_cpu_counts_for_as_many_as_are_wanted(machine):
    with claim_devices("auto", 2) as devices_, claim_devices("cpu", 2) as others:
        assert devices_ == others == ["cpu", "cpu"]


@pytest.mark.parametrize(
    "variables, shown, expected",
    [
        ({"SLURM_JOB_GPUS": "1"}, FOUR, "GPU-b-1"),
        ({"SLURM_JOB_GPUS": "0,1", "SLURM_STEP_GPUS": "0"}, FOUR, "GPU-a-0"),
        # Control groups hide the other cards: the one here is number 0 whatever SLURM calls it.
        ({"SLURM_JOB_GPUS": "3"}, FOUR[3:], "GPU-d-3"),
        ({"SLURM_JOB_GPUS": "1", "CUDA_VISIBLE_DEVICES": "2"}, FOUR, "GPU-c-2"),
    ],
)
def test_slurms_assignment_is_respected(machine, monkeypatch, variables, shown, expected):
    machine(shown)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert claimed() == expected


def test_a_gpu_that_is_cut_is_claimed_by_the_slice(machine, monkeypatch):
    slices = gpus(("MIG-1111", 1), ("MIG-2222", 2))
    machine([{"uuid": "GPU-a-0", "mig": None, "free": 9}, {"uuid": "GPU-b-1", "mig": slices}])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with claim_device():
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "MIG-2222"
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"
        assert claimed() == "MIG-1111"


CELL = """
    import os, sys, time
    from pathlib import Path
    from yoyak.run.devices import claim_devices

    def is_alive(pid):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False

    journal, cell, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    with claim_devices("auto", count):
        owned = [journal / name for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",")]
        for file in owned:
            end = time.monotonic() + 5  # a process that dies gives its locks back a moment before
            while file.exists() and is_alive(file.read_text()):
                assert time.monotonic() < end, f"{file.name} has two jobs"
            file.write_text(str(os.getpid()))
        time.sleep(0.3)
        for file in owned:
            assert file.read_text() == str(os.getpid()), f"{file.name} has two jobs"
            file.unlink()
    (journal / cell).touch()
"""


@pytest.mark.parametrize("count, jobs", [(1, 4), (2, 2)])
def test_four_devices_eight_cells_and_kills(machine, tmp_path, count, jobs):
    """As many jobs at once as fit, some killed -9: no device has two, no claim outlives its job."""
    machine(FOUR)
    journal = tmp_path / "journal"
    journal.mkdir()
    random = Random(7)
    command = [sys.executable, "-c", textwrap.dedent(CELL), str(journal)]
    waiting, running, kills, most = [f"cell{i}" for i in range(8)], {}, 0, 0
    while waiting or running:
        while waiting and len(running) < jobs:
            cell = waiting.pop()
            running[cell] = subprocess.Popen(
                [*command, cell, str(count)], stderr=subprocess.PIPE, text=True
            )
        holding = [pid for file in journal.glob("GPU-*") if (pid := _text(file))]
        most = max(most, len(holding))
        if kills < 6 and holding and random.random() < 0.1:
            running[random.choice(list(running))].kill()
            kills += 1
        for cell, child in list(running.items()):
            if child.poll() is not None:
                said = child.communicate()[1]
                # Never "every GPU is claimed": what the dead had is free.
                assert child.returncode in (0, -signal.SIGKILL), said
                del running[cell]
                waiting += [cell] if child.returncode else []
        time.sleep(0.01)
    assert kills == 6 and 1 < most <= 4
    for file in journal.glob("GPU-*"):
        file.unlink()  # of a cell that was killed
    assert sorted(path.name for path in journal.iterdir()) == [f"cell{i}" for i in range(8)]
    assert claimed("auto", 4).count(",") == 3


def _text(file) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def test_a_child_that_inherits_the_claim_keeps_it(machine, tmp_path):
    """The processes of a training on several devices: the launcher dies, they still compute."""
    machine(gpus(("GPU-only", 5)))
    with claim_devices() as claim:
        child = subprocess.Popen(["/bin/sleep", "60"], pass_fds=claim.locks)
    try:
        with pytest.raises(UserError, match="1 of 1 GPUs here are claimed"):
            claimed()
    finally:
        child.kill()
        child.wait()
    assert claimed() == "GPU-only"
