"""How a process can end, for tests of several at once: these import it anew, so it is light."""

import os
import signal
import sys
import time
from pathlib import Path

from yoyak.errors import UserError


def end(job: tuple[str, Path], context) -> None:
    """End as the job says; process 1 is the one at fault, process 0 waits for ever."""
    how, folder = job
    (folder / f"pid{context.rank}").write_text(str(os.getpid()))
    if how == "well":
        return
    if how == "holding":
        held = [
            os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")
        ]
        sys.exit(0 if str(folder / "gpu.lock") in held else 3)
    while context.rank == 0 or not (folder / "pid0").exists():
        if context.stop_signal():
            sys.exit(75)
        time.sleep(0.01)
    if how == "error":
        raise UserError("row 3 is empty; fill it")
    if how == "full":
        raise OSError(28, "No space left on device", "somewhere")
    if how == "fault":
        raise RuntimeError("a fault of Yoyak's own")
    if how == "again":
        sys.exit(75)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    while not context.stop_signal():
        time.sleep(0.01)
    sys.exit(75)
