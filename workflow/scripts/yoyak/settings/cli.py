"""How every script starts and ends: one clear line on an error, the right exit code."""

import sys
from collections.abc import Callable

from yoyak.settings.config import UserError, one_line
from yoyak.settings.faults import machine_fault


def run_script(main: Callable[[], None]) -> None:
    """Run `main` and turn a `UserError` into one line on stderr and exit code 2.

    So is a disk that is full or must not be written, or memory that ran out; a GPU that fails ends
    with 75, Ctrl-C with 130. Anything else is a fault of Yoyak's own and keeps its traceback.
    """
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


def _leave(text: str, code: int) -> None:
    print(f"error: {one_line(text)}", file=sys.stderr, flush=True)
    sys.exit(code)
