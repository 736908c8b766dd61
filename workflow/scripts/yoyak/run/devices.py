"""One device for one job: claimed by a lock that the kernel releases however the job dies."""

import contextlib
import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from yoyak.settings.config import UserError


@contextlib.contextmanager
def claim_device(wanted: str = "auto") -> Iterator[str]:
    """Claim a GPU, or the CPU where there is none, for as long as the block runs.

    Snakemake counts `gpu` resources but assigns no device. The emptiest unclaimed GPU of those
    that CUDA_VISIBLE_DEVICES allows (all, if it is unset) is taken and CUDA_VISIBLE_DEVICES is set
    to it alone, so call this before anything touches CUDA.

    Yields: "cpu" or "cuda:0", the device as this process sees it.

    Raises:
        UserError: a GPU is wanted and there is none, or every GPU is claimed by another job.
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
    with contextlib.ExitStack() as stack:
        for uuid in gpus:
            lock = stack.enter_context(open(_lock_folder() / f"{uuid}.lock", "a"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            os.environ["CUDA_VISIBLE_DEVICES"] = uuid
            yield "cuda:0"
            return
    raise UserError(
        f"every GPU here ({len(gpus)}) is claimed by another Yoyak job: start snakemake with "
        f"--resources gpu={len(gpus)}, so that no more jobs than GPUs run at once"
    )


def _visible_gpus() -> list[str]:
    """UUIDs of the GPUs that this process may use, the emptiest first."""
    query = ["nvidia-smi", "--query-gpu=index,uuid,memory.free", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        names = [name.strip() for name in allowed.split(",") if name.strip()]
        if any(name.startswith("MIG-") for name in names):
            return names  # a MIG slice has no row of its own in this query
        rows = [row for row in rows if any(_names(row, name) for name in names)]
    return [uuid for _, uuid, free in sorted(rows, key=lambda row: -_number(row[2]))]


def _names(row: list[str], name: str) -> bool:
    return row[0] == name or (name.startswith("GPU-") and row[1].startswith(name))


def _number(text: str) -> float:
    return float(text) if text.replace(".", "", 1).isdigit() else 0.0


def _lock_folder() -> Path:
    """Private to the user and local to the host, as GPUs are."""
    folder = Path(tempfile.gettempdir()) / f"yoyak-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise UserError(f"{folder} belongs to another user; remove it or set TMPDIR")
    return folder
