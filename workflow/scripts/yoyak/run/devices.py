"""Devices of one job, claimed by locks that the kernel releases however the job ends."""

import contextlib
import fcntl
import os
import re
import resource
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pynvml

from yoyak.config.model_config import ExecutionSettings
from yoyak.errors import UserError

DEVICES = Path("/dev")
LOOK = "or check nvidia-smi and CUDA_VISIBLE_DEVICES"
Named = tuple[str, int]  # name for CUDA_VISIBLE_DEVICES, bytes free


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
    CUDA. A job gets all of its GPUs or none and never waits while holding some, so jobs cannot
    deadlock.

    Args:
        wanted: `execution.device`: auto, cpu, cuda or cuda:N.
        count: how many; the CPU is yielded that many times, once for each process of a training.

    Raises:
        UserError: there are too few GPUs, too many are claimed by other jobs, or the driver fails.
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
                f"execution.device: '{wanted}' was requested, but this machine has no such GPU; "
                f"set execution.device: auto, {LOOK}"
            )
        yield Claim(["cpu"] * count)
        return
    if len(gpus) < count:
        raise UserError(
            f"execution.devices: {count} GPUs were requested, but this job sees {len(gpus)}; set "
            f"execution.devices: {len(gpus)}, {LOOK}"
        )
    emptiest_first = [name for name, _ in sorted(gpus, key=lambda gpu: -gpu[1])]
    names, locks = _lock_free_ones(emptiest_first, count)
    with contextlib.ExitStack() as stack:
        for lock in locks:
            stack.enter_context(lock)
        if len(names) < count:
            raise UserError(
                f"{len(gpus) - len(names)} of {len(gpus)} GPUs here are claimed by other Yoyak "
                f"jobs and this one wants {count}: wait for them, or start snakemake with "
                f"--resources gpu={len(gpus)}, so that no more jobs than GPUs run at once"
            )
        stack.enter_context(_showing(",".join(names)))
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
    """Raise UserError if the settings ask for several processes but there is only this one."""
    if execution.devices > 1:
        raise UserError(
            f"execution.devices: {execution.devices} processes would share the training, and a "
            "program that calls the library is one; set execution.devices: 1, or train with "
            f"train_llm.py --devices {execution.devices}"
        )


def peak_memory_gb() -> float:
    """Highest memory so far, in 10⁹ bytes: of the GPU where one is used, else of the process."""
    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def count_gpus() -> int:
    """GPUs or MIG slices that this process may claim. Raises UserError where the driver fails."""
    return len(_visible_gpus())


def _visible_gpus() -> list[Named]:
    """The GPUs that this process may use, in order; a partitioned GPU counts as its MIG slices."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None and not allowed.strip():
        return []
    names = [name.strip() for name in allowed.split(",")] if allowed else []
    if any(name.startswith("MIG-") for name in names):
        return [(name, 0) for name in names if name]
    gpus = _gpus()
    chosen = list(range(len(gpus)))
    # SLURM sets CUDA_VISIBLE_DEVICES itself, unless its gres.conf tells it not to. Where control
    # groups hide the others, the GPUs here are numbered from 0 and SLURM's numbers are the host's.
    given = os.environ.get("SLURM_STEP_GPUS") or os.environ.get("SLURM_JOB_GPUS") or ""
    if allowed is None and given and len(gpus) > len(given.split(",")):
        chosen = [number for number in chosen if str(number) in given.split(",")]
    elif allowed is not None:
        chosen = [
            number
            for name in names
            for number, (uuid, _) in gpus.items()
            if name == str(number) or (name.startswith("GPU-") and uuid.startswith(name))
        ]
    return [part for number in chosen for part in gpus[number][1]]


def _gpus() -> dict[int, tuple[str, list[Named]]]:
    """UUID, and itself or its MIG slices, of each GPU by its number; none without a driver."""
    found = {}
    try:
        pynvml.nvmlInit()
        for number in range(pynvml.nvmlDeviceGetCount()):
            gpu = pynvml.nvmlDeviceGetHandleByIndex(number)
            found[number] = pynvml.nvmlDeviceGetUUID(gpu), _parts(gpu)
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        if any(DEVICES.glob("nvidia[0-9]*")):  # else there are a driver's libraries and no GPU
            raise UserError(
                f"the NVIDIA driver fails ({error}); check nvidia-smi and repair it (a container "
                "wants NVIDIA_DRIVER_CAPABILITIES=compute,utility), or set execution.device: cpu"
            ) from None
    return found


def _parts(gpu) -> list[Named]:
    """The GPU itself, or the MIG slices that it is partitioned into."""
    try:
        cut = pynvml.nvmlDeviceGetMigMode(gpu)[0] == pynvml.NVML_DEVICE_MIG_ENABLE
    except pynvml.NVMLError:  # it cannot be cut
        cut = False
    parts = [] if cut else [gpu]
    for place in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(gpu) if cut else 0):
        with contextlib.suppress(pynvml.NVMLError):  # there is no slice in this place
            parts.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, place))
    return [(pynvml.nvmlDeviceGetUUID(part), _free_bytes(part)) for part in parts]


def _free_bytes(gpu) -> int:
    try:
        return pynvml.nvmlDeviceGetMemoryInfo(gpu).free
    except pynvml.NVMLError:  # it shares the processor's memory
        return 0


@contextlib.contextmanager
def _showing(names: str) -> Iterator[None]:
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = names
    try:
        yield
    finally:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        os.environ.update({} if before is None else {"CUDA_VISIBLE_DEVICES": before})


def _lock_free_ones(names: list[str], count: int) -> tuple[list[str], list[IO]]:
    """Lock the first `count` of these GPUs that no other process has; returns names and lock files.

    Only one process chooses at a time: if two processes each want two of three GPUs, one gets them.
    This uses `flock` itself: the package filelock unlocks explicitly, which would free a device
    that processes inheriting the lock still use. Here the file is only closed, and the kernel
    releases the lock when the last process that has it open ends.
    """
    folder = _lock_folder()
    got: list[str] = []
    locks: list[IO] = []
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
