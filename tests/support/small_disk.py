"""A real small disk for tests: a tmpfs in a mount namespace of its own, gone with its process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from yoyak.errors import PROJECT_ROOT

# As root a namespace for mounts is enough; others need one for users too, where they may have it.
ENTER = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--map-root-user"])]
START = """
set -eu
mount -t tmpfs -o size=$SIZE tmpfs "$DISK"
cd "$DISK"
remount() { mount -o "remount,$1" "$DISK"; }
run() {
  script=$1; shift
  code=0; "$PYTHON" "$SCRIPTS/$script.py" "$@" 2>&1 || code=$?
  echo "== exit $code"
}
"""


def on_small_disk(folder: Path, size: str, script: str) -> list[str]:
    """Run a shell script in a tmpfs of that size; returns what each `run` in it printed.

    The script may say `run NAME ARGUMENTS` (a script of workflow/scripts), `remount OPTIONS`, and
    copy what it wants to keep to "$KEEP", which is `folder`/keep. Skips where none can be mounted.
    """
    (folder / "disk").mkdir()
    (folder / "keep").mkdir()
    environment = {
        **os.environ,
        "SIZE": size,
        "DISK": str(folder / "disk"),
        "KEEP": str(folder / "keep"),
        "PYTHON": sys.executable,
        "SCRIPTS": str(PROJECT_ROOT / "workflow" / "scripts"),
    }
    try:
        tried = subprocess.run(
            [*ENTER, "mount", "-t", "tmpfs", "tmpfs", str(folder / "disk")], capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("no program `unshare` (util-linux) to mount a small disk with")
    if tried.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {tried.stderr.decode().strip()}")
    done = subprocess.run(
        [*ENTER, "bash", "-c", START + script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.split("== exit ")


def ended(said: str, after: str) -> tuple[str, list[str]]:
    """Exit code of a `run`, from what follows it, and the lines that begin with `error:`."""
    return after.splitlines()[0], [x for x in said.splitlines() if x.startswith("error:")]
