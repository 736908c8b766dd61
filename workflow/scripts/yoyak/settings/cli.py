"""How every script starts and ends: one clear line on an error, the right exit code."""

import sys
from collections.abc import Callable

from yoyak.settings.config import UserError


def run_script(main: Callable[[], None]) -> None:
    """Run `main` and turn a `UserError` into one line on stderr and exit code 2.

    Anything else is a fault of Yoyak's own and keeps its traceback.
    """
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
