"""Claiming a GPU, with a real nvidia-smi program that prints what the test says."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import textwrap

import pytest

from yoyak.run import devices
from yoyak.run.devices import claim_device
from yoyak.settings.config import PROJECT_ROOT, UserError

THREE = """\
0, GPU-aaaa-1, 1000
1, GPU-bbbb-2, 80000
2, GPU-cccc-3, 40000
"""
A, B, C = "GPU-aaaa-1", "GPU-bbbb-2", "GPU-cccc-3"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Returns a function that says what nvidia-smi prints; locks and devices are the test's own."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "dev").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(devices, "DEVICES", tmp_path / "dev")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def prints(text: str, code: int = 0):
        program = tmp_path / "bin" / "nvidia-smi"
        program.write_text(
            f"#!/bin/sh\nwhile read -r line; do echo \"$line\"; done <<'X'\n{text}X\nexit {code}\n"
        )
        program.chmod(0o755)

    return prints


def claimed(wanted="auto") -> str:
    with claim_device(wanted) as device:
        return os.environ["CUDA_VISIBLE_DEVICES"] if device == "cuda:0" else device


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
    with pytest.raises(UserError, match=r"execution.device: '.*' is asked for .*device: auto"):
        claimed(wanted)
    machine(THREE)
    with pytest.raises(UserError, match="no such GPU"):
        claimed("cuda:3")


def test_a_driver_that_fails_is_no_cpu(machine, tmp_path):
    machine("Failed to initialize NVML: Driver/library version mismatch\n", code=18)
    assert claimed() == "cpu"  # a machine without a GPU may have the program
    (tmp_path / "dev" / "nvidia0").touch()
    with pytest.raises(UserError, match="version mismatch.*mend the driver"):
        claimed()


def test_devices_without_the_program_are_used(machine, tmp_path):
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
    assert claimed("cuda:1") == "1"


@pytest.mark.parametrize("text", ["No devices were found\n", "", "0, GPU-a\n", "0, GPU-z, [N/A]\n"])
def test_odd_rows_are_survived(machine, text):
    machine(text)
    assert claimed() in ("cpu", "GPU-z")


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
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT / "workflow" / "scripts")}
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
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
        pytest.raises(UserError, match=r"every GPU here \(3\).*gpu=3"),
    ):
        claimed()
    machine("0, GPU-only, 5\n")
    with holder(), pytest.raises(UserError, match="GPU GPU-only is claimed by another Yoyak job"):
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
