"""Stands in for pynvml (nvidia-ml-py): the GPUs that $FAKE_GPUS describes, on any machine.

$FAKE_GPUS is JSON: a list of {"uuid", "free", "mig"}, of which free (bytes) may be missing, as on
hardware that does not tell, and mig is the list of slices of a GPU that is cut. A text is the error
of a driver that fails; null or nothing: no driver.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace

NVML_DEVICE_MIG_ENABLE = 1
MOST_SLICES = 7


class NVMLError(Exception):
    pass


class NVMLError_LibraryNotFound(NVMLError):
    pass


def show(folder: Path, gpus: object) -> dict[str, str]:
    """Variables under which a Python process imports this module as pynvml and sees these GPUs."""
    if not (folder / "pynvml.py").exists():
        (folder / "pynvml.py").symlink_to(Path(__file__).resolve())
    return {"PYTHONPATH": str(folder), "FAKE_GPUS": json.dumps(gpus)}


def gpus(*rows: tuple[str, int | None]) -> list[dict]:
    return [{"uuid": uuid, "free": free} for uuid, free in rows]


def _shown() -> object:
    return json.loads(os.environ.get("FAKE_GPUS", "null"))


def nvmlInit() -> None:
    shown = _shown()
    if shown is None:
        raise NVMLError_LibraryNotFound("NVML Shared Library Not Found")
    if isinstance(shown, str):
        raise NVMLError(shown)


def nvmlShutdown() -> None:
    pass


def nvmlDeviceGetCount() -> int:
    return len(_shown())


def nvmlDeviceGetHandleByIndex(index: int) -> dict:
    return _shown()[index]


def nvmlDeviceGetUUID(handle: dict) -> str:
    return handle["uuid"]


def nvmlDeviceGetMemoryInfo(handle: dict) -> SimpleNamespace:
    if handle.get("free") is None:
        raise NVMLError("Not Supported")
    return SimpleNamespace(free=handle["free"])


def nvmlDeviceGetMigMode(handle: dict) -> list[int]:
    if "mig" not in handle:
        raise NVMLError("Not Supported")
    return [int(handle["mig"] is not None)] * 2


def nvmlDeviceGetMaxMigDeviceCount(handle: dict) -> int:
    return MOST_SLICES


def nvmlDeviceGetMigDeviceHandleByIndex(handle: dict, index: int) -> dict:
    if index >= len(handle["mig"]):
        raise NVMLError("Not Found")
    return handle["mig"][index]
