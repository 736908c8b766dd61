"""Several processes for one training, one a device: started, asked to leave, and ended together.

Not torchrun, nor accelerate's launchers above it. Tried with torch 2.13.0: told to end by SIGTERM
it leaves with 1, though its processes left with 75 ("run me again"); killed with -9 it leaves them
running, for it sets no death signal; and it closes the GPU's lock files to them, so that the GPU
counts as free while they compute. It also kills them 30 seconds after a signal, in the middle of a
checkpoint perhaps. To add all that would take a launcher around the launcher.
"""

import contextlib
import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection, reduction
from pathlib import Path
from typing import Any

from yoyak.errors import AGAIN, UserError, machine_fault

log = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
PR_SET_PDEATHSIG = 1  # linux/prctl.h
STOP, ERROR = "stop", "error"


@dataclass(frozen=True)
class RankContext:
    """One process's place: its number among `count`, its device ("cpu" or "cuda:0"), and a folder
    that the processes of one training share for as long as it runs."""

    rank: int
    count: int
    device: str
    folder: Path

    def stop_signal(self) -> int:
        """Number of the signal by which the training was asked to stop, or 0."""
        try:
            return int((self.folder / STOP).read_bytes())
        except (FileNotFoundError, ValueError):  # not there, or just being written
            return 0


class _InheritedLocks:
    """Lock files that a process inherits open, so that its device stays claimed while it lives."""

    def __init__(self, locks):
        self.locks = tuple(locks)

    def __reduce__(self):
        return _InheritedLocks, ([reduction.DupFd(lock) for lock in self.locks],)


def run_ranks(work: Callable[[Any, RankContext], None], job: Any, devices: list[str]) -> None:
    """Run `work(job, context)` in one process a device; return when all have ended well.

    Args:
        work: a function of a module. job: what it needs; both are pickled.
        devices: from `claim_devices`; its locks are inherited.

    A signal is passed on once, as `context.stop_signal`; a second one ends this process and the
    kernel then ends the others, as it does when this process is killed.

    Raises:
        UserError: that of the process that failed first; the others are ended.
        SystemExit: with its exit code.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    locks = _InheritedLocks(getattr(devices, "locks", ()))
    spawn = multiprocessing.get_context("spawn")
    processes = []
    with (
        tempfile.TemporaryDirectory(prefix="yoyak-ranks-") as name,
        _passing_signals_on(Path(name)),
    ):
        folder = Path(name)
        try:
            for rank, device in enumerate(devices):
                cuda = device.startswith("cuda")
                context = RankContext(rank, len(devices), "cuda:0" if cuda else device, folder)
                shown = visible[rank] if cuda else None
                process = spawn.Process(
                    target=_run_rank, args=(work, job, context, shown, os.getpid(), locks)
                )
                process.start()
                processes.append(process)
            failed = _first_failure(processes)
        finally:
            for process in processes:
                process.kill()
                process.join()
        if failed is not None:
            _exit_as(failed, processes.index(failed), folder)


def _first_failure(processes):
    """Wait for all to end; returns the first that did not end well, at once, or None."""
    waiting = {process.sentinel: process for process in processes}
    while waiting:
        for sentinel in connection.wait(list(waiting)):
            process = waiting.pop(sentinel)
            process.join()
            if process.exitcode:
                return process
    return None


def _exit_as(process, rank: int, folder: Path) -> None:
    """End as that process ended."""
    with contextlib.suppress(FileNotFoundError):
        raise UserError((folder / ERROR).read_text(encoding="utf-8"))
    if process.exitcode < 0:
        name = signal.Signals(-process.exitcode).name
        log.warning(
            "process %d of the training was ended by %s from outside (out of memory, perhaps); "
            "run the same command again, it goes on from the last checkpoint", rank, name,
        )  # fmt: skip
        sys.exit(AGAIN)
    sys.exit(process.exitcode)


@contextlib.contextmanager
def _passing_signals_on(folder: Path):
    """Leave a note for the processes at the first signal; at a second one, be ended by it."""

    def note(number, frame):
        signal.signal(number, before[number])
        temporary = folder / f".{STOP}"
        temporary.write_text(str(int(number)))
        os.replace(temporary, folder / STOP)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_rank(
    work, job, context: RankContext, shown: str | None, parent: int, locks: _InheritedLocks
) -> None:
    """What a new process does: see its own device only, work, and say how it ended."""
    _end_with(parent)
    for number in SIGNALS:  # the parent passes them on, once, however many processes get them
        signal.signal(number, signal.SIG_IGN)
    if shown is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = shown
    code = 0
    try:
        work(job, context)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except Exception as error:
        said = (str(error), 2) if isinstance(error, UserError) else machine_fault(error)
        code = 2 if said else 1
        if said is None:
            traceback.print_exc()
        else:
            _report_error(context.folder, said[0])
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    if code:
        os._exit(code)  # at once: tidying up would wait for the other processes


def _report_error(folder: Path, text: str) -> None:
    """Hand an error to the parent; where several processes fail alike, one of them is heard."""
    temporary = folder / f".{ERROR}-{os.getpid()}"
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, folder / ERROR)


def _end_with(parent: int) -> None:
    """Let the kernel end this process with its parent, even one that is killed (Linux).

    Python has no name for it; a thread that waits for the parent's end would not run while this
    process is stopped, or busy in C.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
