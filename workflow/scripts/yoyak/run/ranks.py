"""The launcher: several processes for one training, one per device, started and ended together.

Why not torchrun, or accelerate's launchers on top of it (tried with torch 2.13.0): after SIGTERM it
exits with 1 although its processes exited with 75 ("run me again"). Killed with -9 it leaves them
running, since it sets no death signal. It does not pass on the GPU's lock files, so the GPU counts
as free while they compute. It kills them 30 seconds after a signal, perhaps in the middle of a
checkpoint. Adding all that would take a launcher around the launcher.
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
    """One process of a training: its rank among `count`, its device ("cpu" or "cuda:0"), and a
    folder that all processes share while the training runs."""

    rank: int
    count: int
    device: str
    folder: Path

    def stop_signal(self) -> int:
        """Number of the signal by which the training was asked to stop, or 0."""
        try:
            return int((self.folder / STOP).read_bytes())
        except (FileNotFoundError, ValueError):  # not there, or being written
            return 0


class _InheritedLocks:
    """Open lock files that a process inherits, so that its device stays claimed while it lives."""

    def __init__(self, locks):
        self.locks = tuple(locks)

    def __reduce__(self):
        return _InheritedLocks, ([reduction.DupFd(lock) for lock in self.locks],)


def run_ranks(work: Callable[[Any, RankContext], None], job: Any, devices: list[str]) -> None:
    """Run `work(job, context)` in one process per device; return when all have succeeded.

    Args:
        work: a function of a module. job: what it needs; both are pickled.
        devices: from `claim_devices`; its locks are inherited.

    A signal is passed on once, through `context.stop_signal()`; a second one ends this process, and
    the kernel then ends the others, as when this process is killed.

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
    """Wait until all have ended or one has failed; returns the failed one, or None."""
    waiting = {process.sentinel: process for process in processes}
    while waiting:
        for sentinel in connection.wait(list(waiting)):
            process = waiting.pop(sentinel)
            process.join()
            if process.exitcode:
                return process
    return None


def _exit_as(process, rank: int, folder: Path) -> None:
    """Exit as that process did."""
    with contextlib.suppress(FileNotFoundError):
        raise UserError((folder / ERROR).read_text(encoding="utf-8"))
    if process.exitcode < 0:
        name = signal.Signals(-process.exitcode).name
        log.warning(
            "process %d of the training was ended by %s from outside (out of memory, perhaps); "
            "run the same command again, it resumes from the last checkpoint", rank, name,
        )  # fmt: skip
        sys.exit(AGAIN)
    sys.exit(process.exitcode)


@contextlib.contextmanager
def _passing_signals_on(folder: Path):
    """Pass the first signal on to the processes through a file; a second one ends this process."""

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
    """The main function of a process: make only its device visible, work, report its result."""
    _end_with(parent)
    for number in SIGNALS:  # only the parent handles signals, and passes them on once
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
        os._exit(code)  # at once: a normal exit would wait for the other processes


def _report_error(folder: Path, text: str) -> None:
    """Pass an error to the parent; if several processes fail, one error is reported."""
    temporary = folder / f".{ERROR}-{os.getpid()}"
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, folder / ERROR)


def _end_with(parent: int) -> None:
    """Let the kernel end this process when its parent ends, even if killed (Linux).

    Python has no function for it, and a thread that waits for the parent would not run while this
    process is stopped or busy in C.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
