"""How every script starts and ends: one clear line on an error, the right exit code."""

import errno
import sys
from collections.abc import Callable

from yoyak.settings.config import UserError, one_line

FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


def run_script(main: Callable[[], None]) -> None:
    """Run `main` and turn a `UserError` into one line on stderr and exit code 2.

    So is a disk that is full or must not be written; Ctrl-C ends with 130. Anything else is a
    fault of Yoyak's own and keeps its traceback.
    """
    try:
        main()
    except UserError as error:
        _leave(str(error), 2)
    except KeyboardInterrupt:
        _leave("interrupted; the same command goes on from what was saved", 130)
    except Exception as error:
        said = disk_fault(error)
        if said is None:
            raise
        _leave(said, 2)


def _leave(text: str, code: int) -> None:
    print(f"error: {one_line(text)}", file=sys.stderr, flush=True)
    sys.exit(code)


def disk_fault(error: Exception) -> str | None:
    """What to do about a disk; safetensors and torch hide the number of the error in their text."""
    number, text = getattr(error, "errno", None), str(error)
    named = getattr(error, "filename", None)
    file = f"{named}: " if named else ""
    if number in FULL or "No space left on device" in text:
        return f"{file}the disk is full; free some space and run the same command again"
    if isinstance(error, OSError) and number in FORBIDDEN:
        return f"{file}{error.strerror}; make it writable and run the same command again"
    return None
