"""Logits of a row that are the same, bit by bit, however many rows are computed with it.

A GPU's library takes another kernel for a product of another height, which adds in another order:
in 16 bits one text in a few dozen then depends on how many were written together, and so on the
memory that happened to be free. Here every product is cut into blocks of one height, the last one
filled up with zeros: one kernel computes all of them, and each of its rows by itself. All else that
a layer does looks at one row, or at one prompt. (He, Defeating Nondeterminism in LLM Inference,
Thinking Machines Lab, 2025, replaces the products' kernels instead.)

Experts are left out: which rows one of them gets depends on the others.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from yoyak.generation.cache import SlotBatch

DECODING = 128  # rows: a product that reads its weights takes no longer for so many than for one
PREFILL = 2048
# torch adds up a row (a norm's mean) by 512 threads where it is alone, by 32 from so many rows on.
FEWEST = 16


class BatchInvariant:
    """A forward pass over slots whose rows do not depend on how many they are.

    Args:
        forward: of yoyak.generation.forward; called alike. head: the model's output embeddings.
    """

    def __init__(self, forward: Callable, head: torch.nn.Module):
        self.forward, self.head = forward, head

    def __call__(self, tokens: torch.Tensor, batch: SlotBatch, keep=None) -> torch.Tensor:
        if batch.boundaries is not None:
            with Blocks(PREFILL, self.head):
                return self.forward(tokens, batch, keep)
        rows, missing = len(tokens), max(0, FEWEST - len(tokens))
        if missing:  # copies of the first row, which write the same keys as it does
            tokens, slots, positions = (
                torch.cat([each, each[:1].expand(missing)])
                for each in (tokens, batch.slots, batch.positions)
            )
            batch = replace(batch, slots=slots, positions=positions, copies=missing)
        with Blocks(DECODING, self.head):
            return self.forward(tokens, batch, keep)[:rows]


class Blocks(TorchFunctionMode):
    """Within it, products of a layer are computed in blocks of `height` rows.

    The head's are as high in a prefill as in decoding: it only sees the last token of each prompt.
    """

    def __init__(self, height: int, head: torch.nn.Module):
        super().__init__()
        self.height, self.head = height, getattr(head, "weight", None)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if not _is_product(func) or len(args) < 2:
            return func(*args, **(kwargs or {}))
        x, weight, *others = args
        rows = x.reshape(-1, x.shape[-1])
        height = DECODING if weight is self.head else self.height

        def product(block: torch.Tensor) -> torch.Tensor:
            count = len(block)
            if count < height:
                block = F.pad(block, (0, 0, 0, height - count))
            return func(block, weight, *others, **(kwargs or {}))[:count]

        whole = product(rows[:height])
        if len(rows) > height:
            first, whole = whole, whole.new_empty(len(rows), whole.shape[1])
            whole[:height] = first
            for start in range(height, len(rows), height):
                whole[start : start + height] = product(rows[start : start + height])
        return whole.unflatten(0, x.shape[:-1])


def _is_product(func) -> bool:
    """Of rows with a weight: torch's, or bitsandbytes' for 4 bits."""
    return func is F.linear or str(func) == "bitsandbytes.gemm_4bit.default"
