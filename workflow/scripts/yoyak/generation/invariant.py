"""Logits of a row that are the same, bit by bit, however many rows are computed with it.

A GPU's library takes another kernel for a product of another height, which adds in another order:
in 16 bits a text can then depend on how many were written together, and so on the memory that
happened to be free. Here every product is cut into blocks of one height, the last one
filled up with zeros: one kernel computes all of them, and each of its rows by itself. All else that
a layer does looks at one row, or at one prompt. (He, Defeating Nondeterminism in LLM Inference,
Thinking Machines Lab, 2025, replaces the products' kernels instead.)

Models of experts are left out: which rows one of them gets depends on the others.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from yoyak.generation.cache import SlotBatch

# Rows. By an H200's data sheet, so many cost a product less than reading its weights does.
DECODING = 128
PREFILL = 2048
# torch adds up a row (a norm's mean) by 512 threads where it is alone, by 32 from so many rows on.
# No prompt of a prefill is as short.
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
        found = _product(func, *args, **(kwargs or {}))
        if found is None:
            return func(*args, **(kwargs or {}))
        x, weight, width, write = found
        rows = x.reshape(-1, x.shape[-1])
        height = DECODING if weight is self.head else self.height
        missing = -len(rows) % height
        whole = rows.new_empty(len(rows) + missing, width)
        for start in range(0, len(rows), height):
            block = rows[start : start + height]
            if len(block) < height:
                block = F.pad(block, (0, 0, 0, missing))
            write(block, whole[start : start + height])
        return whole[: len(rows)].reshape(*x.shape[:-1], width)


def _product(func, *args, **kwargs) -> tuple[torch.Tensor, torch.Tensor, int, Callable] | None:
    """Of rows with a weight: (rows, weight, the product's width, what writes it for given rows).

    torch's linear layers, GPT-2's (addmm) and bitsandbytes' of 4 bits; None of all else.
    """
    if func is F.linear:
        x, weight, bias = _of_linear(*args, **kwargs)
        turned = weight.T
    elif func is torch.addmm and args[0].dim() == 1:
        bias, x, weight = args
        turned = weight
    elif str(func) == "bitsandbytes.gemm_4bit.default":
        x, weight, shape, *others = args

        def write(rows, out):
            out.copy_(func(rows, weight, shape, *others, **kwargs))

        return x, weight, shape[0], write
    else:
        return None
    if bias is None:
        return x, weight, turned.shape[1], lambda rows, out: torch.mm(rows, turned, out=out)
    return x, weight, turned.shape[1], lambda rows, out: torch.addmm(bias, rows, turned, out=out)


def _of_linear(input, weight, bias=None):
    return input, weight, bias
