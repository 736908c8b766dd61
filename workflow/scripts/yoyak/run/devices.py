"""Devices for one job: claimed by locks that the kernel releases however the job dies."""

import contextlib
import fcntl
import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from yoyak.config.model_config import ExecutionSettings
from yoyak.errors import UserError

DEVICES = Path("/dev")


class Claim(list):
    """The claimed devices as this process sees them, such as ["cuda:0", "cuda:1"].

    `locks` are the numbers of the open lock files. Processes that share the devices and may outlive
    this one inherit them (`subprocess.Popen(..., pass_fds=claim.locks)`): a device is free again
    when the last of them has ended.
    """

    def __init__(self, devices: list[str], locks: tuple[int, ...] = ()):
        super().__init__(devices)
        self.locks = locks


@contextlib.contextmanager
def claim_device(wanted: str = "auto") -> Iterator[str]:
    """Claim one device; see claim_devices. Yields "cpu" or "cuda:0"."""
    with claim_devices(wanted) as claim:
        yield claim[0]


@contextlib.contextmanager
def claim_devices(wanted: str = "auto", count: int = 1) -> Iterator[Claim]:
    """Claim GPUs, or the CPU where there are none, for as long as the block runs.

    Snakemake counts `gpu` resources but assigns no device. The emptiest unclaimed GPUs of those
    that CUDA_VISIBLE_DEVICES or SLURM allows (all, if neither says) are taken, or with `cuda:N` the
    N-th of them, and CUDA_VISIBLE_DEVICES is set to them alone: call this before anything touches
    CUDA. It is all of them or none, and nobody waits while it holds some, so no two jobs block
    each other.

    Args:
        wanted: `execution.device`: auto, cpu, cuda or cuda:N.
        count: how many; the CPU is yielded that many times, once for each process of a training.

    Raises:
        UserError: GPUs are wanted and there are too few, too many are claimed by other jobs, or
            nvidia-smi fails.
    """
    gpus = [] if wanted == "cpu" else _visible_gpus()
    if wanted.startswith("cuda:"):
        if count > 1:
            raise UserError(
                f"execution.device: '{wanted}' names one GPU and execution.devices asks for "
                f"{count}; set execution.device: auto"
            )
        number = int(wanted.removeprefix("cuda:"))
        gpus = gpus[number : number + 1]
    if not gpus:
        if wanted.startswith("cuda"):
            raise UserError(
                f"execution.device: '{wanted}' is asked for and this machine shows no such GPU; "
                "set execution.device: auto, or look at nvidia-smi and CUDA_VISIBLE_DEVICES"
            )
        yield Claim(["cpu"] * count)
        return
    if len(gpus) < count:
        raise UserError(
            f"execution.devices: {count} GPUs are asked for and this job sees {len(gpus)}; set "
            f"execution.devices: {len(gpus)}, or look at nvidia-smi and CUDA_VISIBLE_DEVICES"
        )
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    with contextlib.ExitStack() as stack:
        names, locks = _lock_free_ones([name for name, _ in sorted(gpus, key=_fullest_last)], count)
        for lock in locks:
            stack.enter_context(lock)
        if len(names) < count:
            raise UserError(_all_taken([name for name, _ in gpus], count, len(names)))
        stack.callback(_set_visible, before)
        _set_visible(",".join(names))
        yield Claim([f"cuda:{i}" for i in range(count)], tuple(lock.fileno() for lock in locks))


def visible_device(wanted: str) -> str:
    """A device by `execution.device`, made the current one: of several GPUs the emptiest.

    Nothing is claimed. Raises UserError for a GPU that this process does not see.
    """
    import torch

    count = 0 if wanted == "cpu" else torch.cuda.device_count()
    names = [f"cuda:{number}" for number in range(count)]
    if wanted.startswith("cuda:"):
        names = [name for name in names if name == wanted]
    if not names:
        if wanted.startswith("cuda"):
            raise UserError(f"device '{wanted}': this process sees no such GPU; name another")
        return "cpu"
    device = max(names, key=lambda name: torch.cuda.mem_get_info(name)[0])
    torch.cuda.set_device(device)
    return device


def refuse_to_share(execution: ExecutionSettings) -> None:
    """Raise UserError where settings for several processes are handed to a single one."""
    if execution.devices > 1:
        raise UserError(
            f"execution.devices: {execution.devices} processes would share the training, and a "
            "program that calls the library is one; set execution.devices: 1, or train with "
            f"train_llm.py --devices {execution.devices}"
        )


def count_gpus() -> int:
    """GPUs or MIG slices that this process may claim. Raises UserError where nvidia-smi fails."""
    return len(_visible_gpus())


def _fullest_last(gpu: tuple[str, float]) -> float:
    return -gpu[1]


def _all_taken(names: list[str], count: int, free: int) -> str:
    if len(names) == 1:
        return (
            f"GPU {names[0]} is claimed by another Yoyak job: wait for it, or start snakemake "
            "with --resources gpu=1, so that only one job at a time uses it"
        )
    said = f"every GPU here ({len(names)})" if not free else f"{len(names) - free} of {len(names)}"
    wants = f" and this training wants {count}" if count > 1 else ""
    verb = "is" if not free else "GPUs here are"
    return (
        f"{said} {verb} claimed by another Yoyak job{wants}: start snakemake with "
        f"--resources gpu={len(names)}, so that no more jobs than GPUs run at once"
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
    if names is None:
        rows = _assigned_by_slurm(rows)
    else:
        rows = [row for name in names for row in rows if _names(row, name)]
    return [gpu for row in rows for gpu in _slices(row)]


def _assigned_by_slurm(rows: list[list[str]]) -> list[list[str]]:
    """Of these rows, those that SLURM gave this job step; all, where it says nothing.

    SLURM sets CUDA_VISIBLE_DEVICES itself, unless its gres.conf tells it not to. Where control
    groups hide the others, the GPUs here are numbered from 0 and SLURM's numbers are the host's.
    """
    given = os.environ.get("SLURM_STEP_GPUS") or os.environ.get("SLURM_JOB_GPUS")
    if not given:
        return rows
    numbers = given.split(",")
    if len(rows) <= len(numbers):
        return rows
    return [row for row in rows if row[0] in numbers]


def _slices(row: list[str]) -> list[tuple[str, float]]:
    """A row of `_query` as claimable devices: itself, or the MIG slices that it is cut into."""
    _, uuid, free, *mig = row
    if mig != ["Enabled"]:
        return [(uuid, _number(free))]
    listed = _nvidia_smi("-L").stdout
    own = listed.partition(f"(UUID: {uuid})")[2].split("\nGPU ")[0]
    return [(name, 0.0) for name in re.findall(r"\(UUID: (MIG-[^)]+)\)", own)]


def _query() -> list[list[str]]:
    """[index, UUID, MiB free, MIG mode] of each GPU here; none where there is no NVIDIA driver."""
    columns = "index,uuid,memory.free,mig.mode.current"
    try:
        done = _nvidia_smi(f"--query-gpu={columns}", "--format=csv,noheader,nounits")
    except OSError:  # no such program: a container may still have been given the devices
        numbers = sorted(path.name.removeprefix("nvidia") for path in DEVICES.glob("nvidia[0-9]*"))
        return [[number, number, "0"] for number in numbers if number.isdigit()]
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    rows = [row for row in rows if len(row) in (3, 4)]
    if done.returncode and not rows and any(DEVICES.glob("nvidia[0-9]*")):
        said = " ".join((done.stdout + done.stderr).split())[:200]
        raise UserError(f"nvidia-smi fails ({said}); mend the driver or set execution.device: cpu")
    return rows


def _nvidia_smi(*arguments: str) -> subprocess.CompletedProcess:
    command = ["nvidia-smi", *arguments]
    try:
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=60
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            "nvidia-smi does not answer within a minute; mend the driver or set "
            "execution.device: cpu"
        ) from None


def _names(row: list[str], name: str) -> bool:
    return row[0] == name or (name.startswith("GPU-") and row[1].startswith(name))


def _number(text: str) -> float:
    return float(text) if text.replace(".", "", 1).isdigit() else 0.0


def _set_visible(name: str | None) -> None:
    if name is None:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    else:
        os.environ["CUDA_VISIBLE_DEVICES"] = name


def _lock_free_ones(names: list[str], count: int) -> tuple[list[str], list[IO]]:
    """The first `count` GPUs of these that no other process has, and their locked files.

    One process at a time chooses: of two that each want two of three, one gets them, never none.
    """
    folder = _lock_folder()
    got, locks = [], []
    with open(folder / "choosing.lock", "ab") as choosing:
        fcntl.flock(choosing, fcntl.LOCK_EX)
        for name in names:
            if len(got) == count:
                break
            # A slice's UUID may hold slashes.
            lock = open(folder / f"{re.sub('[^A-Za-z0-9-]', '_', name)}.lock", "ab")  # noqa: SIM115
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                continue
            got.append(name)
            locks.append(lock)
    return got, locks


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
