"""One device for one job: claimed by a lock that the kernel releases however the job dies."""

import contextlib
import fcntl
import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from yoyak.settings.config import UserError

DEVICES = Path("/dev")


@contextlib.contextmanager
def claim_device(wanted: str = "auto") -> Iterator[str]:
    """Claim a GPU, or the CPU where there is none, for as long as the block runs.

    Snakemake counts `gpu` resources but assigns no device. The emptiest unclaimed GPU of those
    that CUDA_VISIBLE_DEVICES allows (all, if it is unset) is taken, or with `cuda:N` the N-th of
    them, and CUDA_VISIBLE_DEVICES is set to it alone: call this before anything touches CUDA.

    Yields: "cpu" or "cuda:0", the device as this process sees it.

    Raises:
        UserError: a GPU is wanted and there is none, every GPU is claimed by another job, or
            nvidia-smi fails.
    """
    gpus = [] if wanted == "cpu" else _visible_gpus()
    if wanted.startswith("cuda:"):
        number = int(wanted.removeprefix("cuda:"))
        gpus = gpus[number : number + 1]
    if not gpus:
        if wanted.startswith("cuda"):
            raise UserError(
                f"execution.device: '{wanted}' is asked for and this machine shows no such GPU; "
                "set execution.device: auto, or look at nvidia-smi and CUDA_VISIBLE_DEVICES"
            )
        yield "cpu"
        return
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    with contextlib.ExitStack() as stack:
        for name, _ in sorted(gpus, key=lambda gpu: -gpu[1]):
            if _lock(stack, name):
                stack.callback(_set_visible, before)
                _set_visible(name)
                yield "cuda:0"
                return
    if len(gpus) == 1:
        raise UserError(
            f"GPU {gpus[0][0]} is claimed by another Yoyak job: wait for it, or start snakemake "
            "with --resources gpu=1, so that only one job at a time uses it"
        )
    raise UserError(
        f"every GPU here ({len(gpus)}) is claimed by another Yoyak job: start snakemake with "
        f"--resources gpu={len(gpus)}, so that no more jobs than GPUs run at once"
    )


def _visible_gpus() -> list[tuple[str, float]]:
    """(name for CUDA_VISIBLE_DEVICES, MiB free) of each GPU that this process may use, in order."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = None if allowed is None else [name.strip() for name in allowed.split(",")]
    if names is not None and any(name.startswith("MIG-") for name in names):
        return [(name, 0.0) for name in names if name]  # a slice has no row of its own there
    if names == [""]:
        return []
    rows = _query()
    if names is not None:
        rows = [row for name in names for row in rows if _names(row, name)]
    return [(uuid, _number(free)) for _, uuid, free in rows]


def _query() -> list[list[str]]:
    """[index, UUID, MiB free] of each GPU of this machine; none where there is no NVIDIA driver."""
    query = ["nvidia-smi", "--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60)
    except OSError:  # no such program: a container may still have been given the devices
        numbers = sorted(path.name.removeprefix("nvidia") for path in DEVICES.glob("nvidia[0-9]*"))
        return [[number, number, "0"] for number in numbers if number.isdigit()]
    except subprocess.TimeoutExpired:
        raise UserError(
            "nvidia-smi does not answer within a minute; mend the driver or set "
            "execution.device: cpu"
        ) from None
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    rows = [row for row in rows if len(row) == 3]
    if done.returncode and not rows and any(DEVICES.glob("nvidia[0-9]*")):
        said = " ".join((done.stdout + done.stderr).split())[:200]
        raise UserError(f"nvidia-smi fails ({said}); mend the driver or set execution.device: cpu")
    return rows


def _names(row: list[str], name: str) -> bool:
    return row[0] == name or (name.startswith("GPU-") and row[1].startswith(name))


def _number(text: str) -> float:
    return float(text) if text.replace(".", "", 1).isdigit() else 0.0


def _set_visible(name: str | None) -> None:
    if name is None:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = name


def _lock(stack: contextlib.ExitStack, name: str) -> bool:
    """Whether this process has the GPU now; a UUID of a MIG slice may hold slashes."""
    file = _lock_folder() / f"{re.sub('[^A-Za-z0-9-]', '_', name)}.lock"
    lock = stack.enter_context(open(file, "a"))  # noqa: SIM115, the stack closes it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_folder() -> Path:
    """Private to the user and local to the host, as GPUs are."""
    folder = Path(tempfile.gettempdir()) / f"yoyak-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o022
    if status.st_uid != os.getuid() or not private:
        raise UserError(
            f"{folder} is not a folder that you alone can write; remove it or set TMPDIR"
        )
    return folder
