"""The device that a plan is for: this machine's, one described, or a card of known figures."""

from yoyak.run.cards import SOURCE, Card
from yoyak.run.memory import GIB


def known_machine(card: Card) -> dict:
    """What `find_machine` finds, for a card with known figures: no GPU is needed."""
    return {
        "device": "cuda:0",
        "free_bytes": int(card.free_gib * GIB),
        "supports_bf16": True,
        "rate": card.rate,
        "card": card,
        "words": (
            f"Planned for an empty {card.name} ({card.free_gib:g} GiB), by what was measured on "
            f"one ({SOURCE})"
        ),
    }


def find_machine(gpu_memory: float | None, rate: float | None) -> dict:
    """device, free_bytes, supports_bf16, rate (operations a second), and these in words."""
    import torch

    here = torch.cuda.is_available()
    cuda = here or gpu_memory is not None
    if gpu_memory is not None:
        free, name = int(gpu_memory * GIB), f"a GPU with {gpu_memory:g} GiB free"
    elif here:
        free, name = torch.cuda.mem_get_info()[0], torch.cuda.get_device_name()
    else:
        free, name = 0, "this machine's CPU"
    measured = rate is None and (here or not cuda)
    if rate is None:
        rate = _measure_rate(cuda) / 1e12 if measured else 150.0
    how = "measured" if measured else "assumed"
    return {
        "device": "cuda:0" if cuda else "cpu",
        "free_bytes": free,
        "supports_bf16": not here or torch.cuda.is_bf16_supported(including_emulation=False),
        "rate": rate * 1e12,
        "card": None,
        "words": f"Planned for {name}, large products at {rate:.3g} TFLOP/s ({how})",
    }


def _measure_rate(cuda: bool) -> float:
    """Operations a second of a large product on random data, the median of a few."""
    import time

    import torch

    size, device = (8192, "cuda") if cuda else (1024, "cpu")
    dtype = torch.float32
    if cuda:
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(7):
        started = time.perf_counter()
        left @ right
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 2 * size**3 / sorted(times)[3]
