"""How every script starts and ends: one clear line on an error, the right exit code."""

import codecs
import locale
import os
import sys
from collections.abc import Callable

from yoyak.settings.config import UserError, one_line
from yoyak.settings.faults import machine_fault


def run_script(main: Callable[[], None]) -> None:
    """Run `main` and turn a `UserError` into one line on stderr and exit code 2.

    So is a disk that is full or must not be written, or memory that ran out; a GPU that fails ends
    with 75, Ctrl-C with 130. Anything else is a fault of Yoyak's own and keeps its traceback.
    """
    speak_utf8()
    _start_in_utf8()
    try:
        main()
    except UserError as error:
        _leave(str(error), 2)
    except KeyboardInterrupt:
        _leave("interrupted; the same command goes on from what was saved", 130)
    except Exception as error:
        fault = machine_fault(error)
        if fault is None:
            raise
        _leave(*fault)


def speak_utf8() -> None:
    """Write UTF-8, and let children do so, whatever the locale says: Korean needs it."""
    os.environ.pop("PYTHONIOENCODING", None)
    os.environ["PYTHONUTF8"] = "1"
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _start_in_utf8() -> None:
    """Start this script again where files and their names are not in UTF-8.

    Libraries open files too, and how names are written is settled when Python starts.
    """
    encodings = {sys.getfilesystemencoding(), locale.getpreferredencoding(False)}
    ours = sys.orig_argv[-len(sys.argv) :] == sys.argv  # not a test's Python, or a notebook's
    if ours and any(codecs.lookup(name).name != "utf-8" for name in encodings):
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _leave(text: str, code: int) -> None:
    print(f"error: {one_line(text)}", file=sys.stderr, flush=True)
    sys.exit(code)
