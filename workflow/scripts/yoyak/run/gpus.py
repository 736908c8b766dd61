"""Memory and product rate of a GPU, by name or measured on this machine."""

import re
import statistics
import time
from dataclasses import dataclass

from yoyak.errors import UserError
from yoyak.run.memory import GIB

BENCHMARKS = "measured, tests/benchmarks/README.md"
REACHED = 0.8  # share of a data sheet's rate that large products reach: on an H200 790 of 989
USABLE = 0.94  # share of a data sheet's memory that is free on an idle GPU: error correction
UNKNOWN_RATE = 150e12  # of a GPU that is described by its memory alone


@dataclass(frozen=True)
class Device:
    """What a plan needs to know of a device.

    place: "cuda:0" or "cpu". rate: operations a second of a large product in 16 bits, sums in 32.
    source: where the figures are from.
    """

    name: str
    place: str
    free_bytes: int
    rate: float
    source: str
    bf16: bool = True

    def words(self) -> str:
        free = f"{self.free_bytes / GIB:.1f} GiB free, " if self.place != "cpu" else ""
        return f"{self.name} ({free}{self.rate / 1e12:.3g} TFLOP/s in products: {self.source})"


# Name: GB of memory, dense TFLOP/s of bf16 (fp16 where there is no bf16) with sums in float32, from
# NVIDIA's data sheets and architecture papers; of RTX cards that these leave out, multiprocessors
# × boost clock × 512 operations, as theirs come out.
SHEET = {
    **{"RTX 3060 12GB": (12, 25), "RTX 3080 10GB": (10, 60), "RTX 3090": (24, 71)},
    **{"RTX 4060 8GB": (8, 30), "RTX 4060 Ti 16GB": (16, 44), "RTX 4070 12GB": (12, 58)},
    **{"RTX 4080 16GB": (16, 97), "RTX 4090": (24, 165)},
    **{"RTX 5060 Ti 16GB": (16, 47), "RTX 5080 16GB": (16, 113), "RTX 5090": (32, 210)},
    **{"T4": (16, 65), "V100 16GB": (16, 125), "V100 32GB": (32, 125)},
    **{"A10": (24, 125), "L4": (24, 121), "A40": (48, 150), "RTX A6000": (48, 155)},
    **{"RTX 6000 Ada": (48, 364), "L40S": (48, 362)},
    **{"A100 40GB": (40, 312), "A100 80GB": (80, 312)},
    **{"H100 PCIe 80GB": (80, 756), "H100 SXM 80GB": (80, 989)},
}
WITHOUT_BF16 = ("T4", "V100 16GB", "V100 32GB")
GPUS = {
    name: Device(
        name,
        "cuda:0",
        int(memory * USABLE * GIB),
        rate * REACHED * 1e12,
        f"{REACHED:.0%} of its data sheet",
        name not in WITHOUT_BF16,
    )
    for name, (memory, rate) in SHEET.items()
} | {"H200": Device("H200", "cuda:0", 139 * GIB, 790e12, BENCHMARKS)}


def gpu_named(name: str) -> Device:
    """The GPU that is meant by "RTX 4090", "4090" or "NVIDIA A100-SXM4-80GB".

    Raises UserError where none or several could be meant.
    """
    wanted = _plain(name)
    names = [known for known in GPUS if _plain(known) == wanted]
    names = names or [known for known in GPUS if wanted and wanted in _plain(known)]
    if len(names) == 1:
        return GPUS[names[0]]
    said = "could be" if names else "not known; known are"
    raise UserError(
        f"--device '{name}': {said} {', '.join(names or GPUS)}; describe another GPU with "
        "--gpu_memory and --rate"
    )


def _plain(name: str) -> str:
    return re.sub(r"nvidia|geforce|tesla|sxm\d|[^a-z0-9]", "", name.lower())


def described_gpu(memory_gib: float, rate: float | None) -> Device:
    """A GPU by its free memory and, if known, its rate in TFLOP/s."""
    known, how = (rate * 1e12, "given") if rate else (UNKNOWN_RATE, "assumed; say it with --rate")
    return Device("a GPU", "cuda:0", int(memory_gib * GIB), known, how)


def this_device(rate: float | None = None) -> Device:
    """This machine's GPU, or its CPU where there is none; the rate is measured unless given."""
    import torch

    cuda = torch.cuda.is_available()
    bf16 = not cuda or torch.cuda.is_bf16_supported(including_emulation=False)
    return Device(
        torch.cuda.get_device_name() if cuda else "this machine's CPU",
        "cuda:0" if cuda else "cpu",
        torch.cuda.mem_get_info()[0] if cuda else 0,
        _measure_rate(cuda, bf16) if rate is None else rate * 1e12,
        "measured now" if rate is None else "given",
        bf16,
    )


def _measure_rate(cuda: bool, bf16: bool) -> float:
    """Operations a second of a large product on random data, the median of a few."""
    import torch

    size, device = (8192, "cuda") if cuda else (1024, "cpu")
    dtype = (torch.bfloat16 if bf16 else torch.float16) if cuda else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(7):
        started = time.perf_counter()
        left @ right
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(times)
