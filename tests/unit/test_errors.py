"""A script's last words: one line for a mistake or a fault of the machine, a traceback for ours."""

import os
import subprocess
import sys
import textwrap

import pytest

from yoyak.errors import PROJECT_ROOT


def ended(code: str) -> tuple[int, str]:
    """Exit code and stderr of a Python process."""
    path = {"PYTHONPATH": str(PROJECT_ROOT / "workflow" / "scripts")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True, text=True, timeout=30, env=os.environ | path,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "raised, code, words",
    [
        ("UserError('data.csv:\\n row 3: no summary')", 2, "error: data.csv: row 3: no summary"),
        ("OSError(28, 'No space left on device', 'x/y')", 2, "x/y: the disk is full; free"),
        ("RuntimeError('write: No space left on device (os error 28)')", 2, "the disk is full"),
        ("OSError(30, 'Read-only file system', 'x/y')", 2, "x/y: Read-only file system; make it"),
        ("KeyboardInterrupt()", 130, "interrupted; the same command"),
        ("UserError('\\x1b[31mred')", 2, "error: \ufffd[31mred"),
    ],
)
def test_a_script_ends_with_one_line(raised, code, words):
    left, said = ended(
        f"""
        from yoyak.errors import run_script
        from yoyak.errors import UserError
        def main():
            raise {raised}
        run_script(main)
        """
    )
    assert left == code
    assert words in said and said.count("\n") == 1


def test_a_fault_of_our_own_keeps_its_traceback():
    code, said = ended("from yoyak.errors import run_script\nrun_script(lambda: 1 / 0)")
    assert code == 1 and "ZeroDivisionError" in said
