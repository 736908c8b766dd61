"""The order of the examples: the same for the same seed and epoch, resumed or not."""

import math

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler


class Numbered(Dataset):
    """A dataset whose items carry their index, so that an error can name the row."""

    def __init__(self, dataset):  # of dicts, with a length
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> dict:
        return {**self.dataset[number], "number": number}


class SeededOrder(Sampler):
    """A permutation that depends on seed and epoch alone, so that a resume sees the same order."""

    def __init__(self, length: int, seed: int):
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self):
        return iter(
            np.random.default_rng([self.seed, self.epoch]).permutation(self.length).tolist()
        )


def largest_batch(lengths: torch.Tensor, batch: int, epochs: float, seed: int) -> int:
    """Tokens of the largest global batch that a training with this order will see.

    Args:
        lengths: (examples,) tokens of each. batch: examples of a global batch.
    """
    largest = 0
    order = SeededOrder(len(lengths), seed)
    for epoch in range(math.ceil(epochs)):
        order.set_epoch(epoch)
        for part in lengths[list(order)].split(batch):
            largest = max(largest, int(part.sum()))
    return largest
