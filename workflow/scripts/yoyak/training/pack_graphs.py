"""Loss and gradients of packs as CUDA graphs, for models whose layers a GPU computes faster than
Python can launch them.

The kernels of a whole pack, forward and backward, are recorded once and then launched by one call.
A graph's sizes are fixed: packs are filled up to a graph's that is there, or to a round size, which
is recorded when it comes the second time. torch's documentation, "CUDA Graphs": whole-network
capture.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch

from yoyak.data.packing import Pack, PackSize, fill_pack
from yoyak.errors import one_line

log = logging.getLogger(__name__)
CLOSE = (2e-3, 2e-2)  # loss and gradients of a replay beside those of single launches, relative
MOST = 24  # sizes to record; the others are launched kernel by kernel
SPARE = 1 / 16  # of its tokens, that a pack is filled up by to fit a graph that is there
Compute = Callable[[Pack, torch.Tensor], torch.Tensor]


@dataclass
class Recorded:
    """A graph, and the tensors that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    pack: Pack
    supervised: torch.Tensor
    loss: torch.Tensor


class PackGraphs:
    """Runs packs one after the other, as graphs where their size has come before.

    Args:
        compute: forward and backward pass of a pack on the device, given the supervised tokens of
            the whole batch as a 0-dim tensor; adds to the gradients and returns the loss.
        parameters: all that are trained. Their gradients get memory of their own, since a graph
            writes to fixed places.
    """

    def __init__(self, compute: Compute, parameters: list[torch.nn.Parameter]):
        self.compute, self.parameters = compute, parameters
        self.device = parameters[0].device
        self.gradients = [torch.zeros_like(each) for each in parameters]
        self.launched: set[PackSize] = set()
        self.recorded: dict[PackSize, Recorded] = {}
        self.works: bool | None = None  # not known before the first graph

    def begin(self) -> None:
        """Before the first pack of a step: gradients of zero, in their own places."""
        torch._foreach_zero_(self.gradients)
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient

    def fill(self, pack: Pack) -> Pack:
        """The pack, filled up to the size that it will run in."""
        own = PackSize.of(pack).rounded()
        most = own.tokens * (1 + SPARE)
        larger = [size for size in self.recorded if size.tokens <= most and size.holds(pack)]
        return fill_pack(pack, min(larger, key=lambda size: size.tokens, default=own))

    def run(self, pack: Pack, supervised: int) -> torch.Tensor:
        """The share of the loss of a filled pack, a 0-dim tensor; its gradients are added."""
        size = PackSize.of(pack)
        room = self.works is not False and len(self.recorded) < MOST
        if size in self.launched and size not in self.recorded and room:
            self._record(size, pack, supervised)
        if size not in self.recorded:
            self.launched.add(size)
            return self._launch(pack, supervised)
        found = self.recorded[size]
        for name, part in vars(pack).items():
            if isinstance(part, torch.Tensor):
                getattr(found.pack, name).copy_(part, non_blocking=True)
        found.supervised.fill_(supervised)
        found.graph.replay()
        return found.loss.clone()

    def _launch(self, pack: Pack, supervised: int) -> torch.Tensor:
        count = torch.full((), float(supervised), device=self.device)
        return self.compute(pack.to(self.device), count)

    def _record(self, size: PackSize, pack: Pack, supervised: int) -> None:
        """Record a graph for packs of this size; the first one is compared with single launches."""
        place = pack.to(self.device)
        count = torch.full((), float(supervised), device=self.device)
        others = next(iter(self.recorded.values()), None)
        pool = others.graph.pool() if others else None  # graphs run one after the other
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                loss = self.compute(place, count)
        except RuntimeError as error:
            self._do_without(f"cannot be recorded here ({one_line(error)[:200]})")
            return
        self.recorded[size] = Recorded(graph, place, count, loss)
        if self.works is None and not self._equal(pack, supervised):
            self._do_without("do not give the same gradients here")

    def _do_without(self, why: str) -> None:
        log.warning("CUDA graphs %s: packs run without them", why)
        self.works = False
        self.recorded.clear()

    def _equal(self, pack: Pack, supervised: int) -> bool:
        """Whether a replay gives the loss and gradients of single launches, dropout included."""
        before = [gradient.clone() for gradient in self.gradients]
        draws, results = torch.cuda.get_rng_state(self.device), []
        for run in (self._launch, self.run):
            torch.cuda.set_rng_state(draws, self.device)
            torch._foreach_zero_(self.gradients)
            loss = run(pack, supervised)
            flat = torch.cat([gradient.flatten().float() for gradient in self.gradients])
            results.append((loss.float(), flat))
        torch.cuda.set_rng_state(draws, self.device)
        torch._foreach_copy_(self.gradients, before)
        (loss, flat), (again, other) = results
        off = (again - loss).abs() / loss.abs(), (other - flat).norm() / flat.norm()
        shown = [part.item() for part in off]
        log.info("CUDA graphs beside single launches: loss %.1e off, gradients %.1e", *shown)
        self.works = shown[0] <= CLOSE[0] and shown[1] <= CLOSE[1]  # False for NaN
        return self.works
