"""Padded micro-batches: rows of similar length, padded on the right."""

from dataclasses import dataclass

import torch

from yoyak.data.packing import IGNORED, MicroBatch, assign_packs


@dataclass
class PaddedBatch(MicroBatch):
    """Several examples, one a row.

    input_ids, attention_mask: (rows, longest) int64; padding is on the right, where a causal model
        never attends to it. columns: (n,) int64, positions where some row's next token carries a
        loss. targets: (rows, n) int64, that token, IGNORED where a row has none.
    examples: their indices in the dataset.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    columns: torch.Tensor
    targets: torch.Tensor
    examples: tuple[int, ...]


def build_padded(examples: list[dict], indices: list[int]) -> PaddedBatch:
    """Stack examples {"input_ids", "labels"} (1-D tensors of equal length) into a PaddedBatch."""
    longest = max(len(example["input_ids"]) for example in examples)
    ids = torch.zeros((len(examples), longest), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    targets = torch.full_like(ids, IGNORED)
    for row, example in enumerate(examples):
        length = len(example["input_ids"])
        ids[row, :length] = example["input_ids"]
        mask[row, :length] = 1
        targets[row, : length - 1] = example["labels"][1:]
    columns = torch.nonzero((targets != IGNORED).any(0)).squeeze(1)
    return PaddedBatch(ids, mask, columns, targets[:, columns].contiguous(), tuple(indices))


def pad_batch(
    examples: list[dict],
    indices: list[int],
    token_budget: int,
    rank: int = 0,
    ranks: int = 1,
    one_row: bool = False,
) -> list[PaddedBatch]:
    """Cut one global batch into padded micro-batches of at most `token_budget` places.

    Args:
        indices: the examples' numbers in their dataset.
        rank, ranks: of several processes that share the batch, each gets its own micro-batches.
        one_row: for models whose rows change with the other rows of a batch.
    """
    lengths = [len(example["input_ids"]) for example in examples]
    groups = plan_rows(lengths, token_budget, one_row)
    sizes = [len(group) * lengths[group[0]] for group in groups]
    return [
        build_padded(
            [examples[member] for member in members], [indices[member] for member in members]
        )
        for members in assign_packs(groups, sizes, ranks)[rank]
    ]


def plan_rows(lengths: list[int], token_budget: int, one_row: bool = False) -> list[list[int]]:
    """Batches of rows of similar length, longest first; a row over the budget is alone."""
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        full = (
            one_row or not groups or (len(groups[-1]) + 1) * lengths[groups[-1][0]] > token_budget
        )
        if full:
            groups.append([])
        groups[-1].append(index)
    return groups
