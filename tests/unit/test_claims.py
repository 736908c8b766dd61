"""Claims of GPUs: among processes, over deaths, in a folder that is one's own."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from random import Random

import pytest
from fake_nvml import gpus
from test_devices import FOUR, THREE, A, B, C, claimed

from yoyak.errors import UserError
from yoyak.run.devices import claim_device, claim_devices

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
        pytest.raises(UserError, match=r"3 of 3 GPUs here are claimed by other.*wants 1.*gpu=3"),
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
