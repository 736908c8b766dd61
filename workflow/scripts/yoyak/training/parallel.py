"""Collective operations of the processes of one training; with one process they do nothing.

Every process holds the whole model and runs the same trainer over the same global batches, but
computes only its own packs. Gradients are summed, not averaged, once per optimiser step, after the
last pack, so processes may have different numbers of packs, or none. Every number that
steers the training (loss, gradient norm, selection loss) is the same everywhere, to the last bit.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from yoyak.run.ranks import RankContext
from yoyak.training.interruption import StopOnSignal

Made = TypeVar("Made")
BUCKET = 2**25  # gradients summed at once: 128 MiB of float32
PATIENCE = timedelta(minutes=60)  # loading a large checkpoint from a slow disk
SEED_STEP = 1_000_003  # apart from the seeds that a study would choose


@dataclass(frozen=True)
class Ranks:
    """This process's rank and the number of processes."""

    rank: int = 0
    count: int = 1
    context: RankContext | None = None

    @property
    def first(self) -> bool:
        return self.rank == 0

    def from_first(self, make: Callable[[], Made]) -> Made:
        """Run `make` in the first process only; returns its result in all of them."""
        if self.count == 1:
            return make()
        box: list = [make() if self.first else None]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def wait(self) -> None:
        """Barrier: continue when all processes have arrived."""
        self.sum(torch.zeros(1))

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add up a tensor over the processes, in place."""
        if self.count > 1:
            dist.all_reduce(tensor)
        return tensor

    def smallest(self, number: int) -> int:
        if self.count == 1:
            return number
        box = torch.tensor([number], dtype=torch.int64)
        dist.all_reduce(box, op=dist.ReduceOp.MIN)
        return int(box)

    def largest(self, number: float) -> float:
        if self.count == 1:
            return number
        box = torch.tensor([number], dtype=torch.float64)
        dist.all_reduce(box, op=dist.ReduceOp.MAX)
        return box.item()

    def seed(self, seed: int) -> int:
        """A seed of this process's own for dropout; the first one keeps the training's."""
        return (seed + self.rank * SEED_STEP) % 2**32

    def folder(self, checkpoint: Path | str) -> Path:
        """Folder of this process's own part of a checkpoint."""
        return Path(checkpoint) if self.first else Path(checkpoint) / f"rank{self.rank}"

    def share_adapters(self, model: torch.nn.Module) -> None:
        """Make all adapters the first process's, before anything is trained.

        Those that start as singular vectors could differ in sign from device to device.
        """
        for name, parameter in model.named_parameters() if self.count > 1 else ():
            if "lora_" in name:
                dist.broadcast(parameter.data, src=0)

    def sum_gradients(self, model: torch.nn.Module) -> None:
        """Make every trained parameter's gradient the sum over all processes."""
        if self.count == 1:
            return
        bucket, size = [], 0
        for parameter in model.parameters():
            if parameter.requires_grad:
                bucket.append(parameter)
                size += parameter.numel()
            if size >= BUCKET:
                _sum_bucket(bucket)
                bucket, size = [], 0
        if bucket:
            _sum_bucket(bucket)


def _sum_bucket(parameters: list[torch.nn.Parameter]) -> None:
    """Sum gradients in float32; one that no process has stays None."""
    missing = [parameter.grad is None for parameter in parameters]
    parts = [
        (torch.zeros_like(each) if each.grad is None else each.grad).flatten().float()
        for each in parameters
    ]
    present = parts[0].new_tensor([0.0 if lacks else 1.0 for lacks in missing])
    total = torch.cat([*parts, present])
    dist.all_reduce(total)
    *sums, present = total.split([*(len(part) for part in parts), len(present)])
    anywhere = (present > 0).tolist() if any(missing) else [True] * len(missing)
    for parameter, part, found in zip(parameters, sums, anywhere, strict=True):
        part = part.view_as(parameter)
        if parameter.grad is not None:
            parameter.grad.copy_(part)
        elif found:
            parameter.grad = part.to(parameter.dtype)


@contextlib.contextmanager
def process_group(context: RankContext) -> Iterator[Ranks]:
    """Join the process group of the training, on the loopback interface of this host.

    Gradients use NCCL between GPUs and gloo between CPUs; everything else uses gloo.
    """
    if Path("/sys/class/net/lo").exists():
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    cuda = context.device.startswith("cuda")
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=dist.FileStore(str(context.folder / "store"), context.count),
        rank=context.rank,
        world_size=context.count,
        timeout=PATIENCE,
    )
    ranks = Ranks(context.rank, context.count, context)
    yield ranks
    # Not after an error: it would wait for processes that may be gone.
    ranks.wait()
    dist.destroy_process_group()


class StopTogether(StopOnSignal):
    """StopOnSignal for several processes: all stop after the same optimiser step."""

    def __init__(self, ranks: Ranks, context: RankContext):
        super().__init__()
        self.ranks, self.asked = ranks, context.stop_signal

    def on_train_begin(self, args, state, control, **kwargs):
        pass  # signals are the parent process's, see yoyak.run.ranks

    def on_step_end(self, args, state, control, **kwargs):
        number = self.ranks.from_first(self.asked)
        if number and self.received is None:
            self.received = signal.Signals(number)
        return super().on_step_end(args, state, control, **kwargs)
