"""Files from the future: what a clock that was set back leaves behind.

A workflow engine that compares times takes a result for outdated, or even for corrupted, when it is
older than what it was made from; Snakemake then removes it.
"""

import contextlib
import os
import shlex
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from yoyak.errors import UserError

TOLERANCE = 60  # seconds by which the clocks of a network may differ


def check_clock(paths: Iterable[Path]) -> None:
    """Raise UserError if a file, or a file below a folder, was changed later than now."""
    limit = time.time() + TOLERANCE
    for path in map(Path, paths):
        for file in [path, *path.rglob("*")]:
            changed = _changed(file)
            if changed > limit:
                when = datetime.fromtimestamp(changed)
                raise UserError(
                    f"{file} was last changed on {when:%Y-%m-%d at %H:%M}, which is in the "
                    "future: correct the clock, or if it is right now: "
                    f"find {shlex.quote(str(path))} -newermt now -exec touch {{}} +"
                )


def settle_times(inputs: Iterable[Path]) -> None:
    """Let no input be newer than now, so that what is made from it is not older than it."""
    now = time.time()
    for file in inputs:
        if _changed(file) > now:
            with contextlib.suppress(OSError):  # somebody else's: theirs to mend
                os.utime(file, (now, now))


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:  # gone in the meantime
        return 0.0
