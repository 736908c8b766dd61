"""NEFTune: noise on the embeddings while training (Jain et al. 2023, arXiv 2310.05914)."""

import contextlib
import itertools
from collections.abc import Iterator

import torch

from yoyak.data.packing import Pack
from yoyak.data.padding import PaddedBatch
from yoyak.models.reference import causal_lm


@contextlib.contextmanager
def noisy_embeddings(model, batch: Pack | PaddedBatch, alpha: float | None) -> Iterator[None]:
    """Run the block with uniform noise on a micro-batch's embeddings; None adds none.

    Of ±alpha / √(length · hidden), with each row's own length: transformers' hook, which sees one
    row, takes that of the whole pack. For a single row both draw the same noise.
    """
    if alpha is None:
        yield
        return
    spans = _spans(batch)

    def add(module, inputs, output: torch.Tensor) -> torch.Tensor:
        noise = torch.zeros_like(output)  # (1, tokens, hidden) or (rows, longest, hidden)
        for row, start, end in spans:
            part = noise[row, start:end]
            limit = (alpha / torch.sqrt(torch.tensor(part.numel()))).item()
            part.uniform_(-limit, limit)
        return output + noise

    handle = causal_lm(model).get_input_embeddings().register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


def _spans(batch: Pack | PaddedBatch) -> list[tuple[int, int, int]]:
    """Row of the tensor, begin and end of each example."""
    if isinstance(batch, Pack):
        return [(0, start, end) for start, end in itertools.pairwise(batch.boundaries)]
    return [(row, 0, end) for row, end in enumerate(batch.attention_mask.sum(1).tolist())]
