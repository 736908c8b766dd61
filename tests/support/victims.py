"""The processes of one project: its Snakemake and the scripts that it started, found in /proc."""

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

RULES = {
    **{name: name for name in ("prepare_data", "build_dataset", "score", "submission", "compare")},
    **{name: name for name in ("floors", "plot", "report", "model_card")},
    "train_llm": "train",
}


@dataclass(frozen=True)
class Job:
    """One running script."""

    pid: int
    rule: str
    output: str  # its --output-dir or --output, as given: relative to the project

    def alive(self) -> bool:
        return _running(self.pid)


def jobs(folder: Path) -> list[Job]:
    """Scripts at work in a project's folder, orphans too."""
    found = []
    for pid in _pids_in(folder):
        arguments = _arguments(pid)
        if len(arguments) > 1 and arguments[1].startswith("workflow/scripts/"):
            name = Path(arguments[1]).stem
            zero_shot = "generate" if "--adapter" in arguments else "generate_zero_shot"
            options = dict(zip(arguments, arguments[1:], strict=False))
            output = options.get("--output-dir") or options.get("--output") or ""
            found.append(Job(pid, RULES.get(name, zero_shot), output))
    return found


def end_all(folder: Path) -> None:
    """Kill whatever still runs in a folder, and wait until it is gone."""
    for _ in range(1000):
        pids = _pids_in(folder)
        if not pids:
            return
        for pid in pids:
            send(pid, signal.SIGKILL)
        time.sleep(0.01)
    raise RuntimeError(f"processes {pids} in {folder} do not end")


def send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it was faster
        os.kill(pid, number)


def _pids_in(folder: Path) -> list[int]:
    """Processes whose working directory is the folder, but for this one."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                if os.readlink(f"/proc/{name}/cwd") == str(folder) and _running(int(name)):
                    found.append(int(name))
            except OSError:
                continue  # another user's, or gone
    return found


def _running(pid: int) -> bool:
    """Neither gone nor a zombie that only its parent can bury."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def _arguments(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    except (OSError, UnicodeDecodeError):
        return []
