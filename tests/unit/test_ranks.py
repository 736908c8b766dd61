"""Processes of one training: one fails and all end, a signal reaches each once, none is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ending_processes import end

from yoyak.errors import PROJECT_ROOT, UserError
from yoyak.run.devices import Claim
from yoyak.run.ranks import run_ranks

TWO = ["cpu", "cpu"]


def gone(folder: Path) -> bool:
    """Whether both processes that left their number have ended."""
    numbers = [int((folder / f"pid{rank}").read_text()) for rank in (0, 1)]
    return not any(Path(f"/proc/{number}").exists() for number in numbers)


def test_all_end_well(tmp_path):
    run_ranks(end, ("well", tmp_path), TWO)
    assert gone(tmp_path)


def test_the_locks_of_the_devices_are_inherited(tmp_path):
    """So a device stays claimed until the last process that computes on it has ended."""
    with open(tmp_path / "gpu.lock", "a") as lock:
        run_ranks(end, ("holding", tmp_path), Claim(TWO, (lock.fileno(),)))


@pytest.mark.parametrize(
    "how, words", [("error", "row 3 is empty; fill it"), ("full", "the disk is full")]
)
def test_an_error_of_one_is_the_error_of_all(tmp_path, how, words):
    with pytest.raises(UserError, match=words):
        run_ranks(end, (how, tmp_path), TWO)
    assert gone(tmp_path)


@pytest.mark.parametrize("how, code", [("again", 75), ("killed", 75), ("fault", 1)])
def test_the_exit_code_of_one_is_that_of_all(tmp_path, how, code, caplog, capfd):
    with pytest.raises(SystemExit) as left:
        run_ranks(end, (how, tmp_path), TWO)
    assert left.value.code == code
    assert gone(tmp_path)
    assert ("ended by SIGKILL" in caplog.text) == (how == "killed")
    assert ("a fault of Yoyak's own" in capfd.readouterr().err) == (how == "fault")


def started(tmp_path) -> subprocess.Popen:
    """A parent of two processes that work until they are asked to leave."""
    program = (
        "from ending_processes import end; from yoyak.run.ranks import run_ranks;"
        f"from pathlib import Path; run_ranks(end, ('wait', Path({str(tmp_path)!r})), {TWO})"
    )
    paths = [PROJECT_ROOT / "tests" / "support", PROJECT_ROOT / "workflow" / "scripts"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    parent = subprocess.Popen([sys.executable, "-c", program], env=environment)
    until = time.monotonic() + 60
    while not all((tmp_path / f"pid{rank}").exists() for rank in (0, 1)):
        assert time.monotonic() < until
        time.sleep(0.02)
    return parent


def test_a_signal_asks_all_to_leave_and_its_code_comes_back(tmp_path):
    parent = started(tmp_path)
    for rank in (0, 1):  # as a cluster does that signals every process of a job
        os.kill(int((tmp_path / f"pid{rank}").read_text()), signal.SIGTERM)
    parent.terminate()
    assert parent.wait(30) == 75
    assert gone(tmp_path)


def test_a_killed_parent_leaves_no_process_behind(tmp_path):
    parent = started(tmp_path)
    parent.kill()
    parent.wait(30)
    until = time.monotonic() + 60
    while not gone(tmp_path):
        assert time.monotonic() < until
        time.sleep(0.02)
