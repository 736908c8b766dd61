"""Packs: examples concatenated without padding, cut by a token budget."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch

from yoyak.run.plan import FILLED

IGNORED = -100  # the label that carries no loss, as in torch.nn.CrossEntropyLoss


class MicroBatch:
    """What is computed at once: a dataclass of tensors and Python numbers."""

    def to(self, device) -> Self:
        """Move the tensors; the Python numbers stay, so that no kernel waits for them.

        Nothing waits for the copies, either: accelerate calls this while the GPU is at work.
        """
        return self._with_each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """Called by the DataLoader: from pinned memory, nothing waits for the way to a GPU."""
        return self._with_each(torch.Tensor.pin_memory)

    def _with_each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Self:
        parts = vars(self).items()
        changed = {name: change(part) for name, part in parts if isinstance(part, torch.Tensor)}
        return type(self)(**vars(self) | changed)


@dataclass
class Pack(MicroBatch):
    """Several examples in one row of tokens.

    input_ids, position_ids: (1, tokens) int64; positions restart at every example.
    cu_seq_lens: (examples + 1,) int32, cumulative lengths; boundaries: the same as Python ints.
    supervised: (n,) int64, positions whose next token carries a loss; targets: (n,) int64, that
    token. max_length: tokens of the longest example. examples: their indices in the dataset.
    Filled (`fill_pack`), it has more of all, and `max_length` may be longer than any.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    cu_seq_lens: torch.Tensor
    supervised: torch.Tensor
    targets: torch.Tensor
    max_length: int
    boundaries: tuple[int, ...]
    examples: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return self.boundaries[-1]


@dataclass(frozen=True)
class PackSize:
    """How long a pack's tensors are, and the longest example that it says it has."""

    tokens: int
    boundaries: int
    supervised: int
    max_length: int

    @classmethod
    def of(cls, pack: Pack) -> Self:
        return cls(pack.tokens, len(pack.boundaries), len(pack.supervised), pack.max_length)

    def rounded(self, tokens: int = FILLED, boundaries: int = 32, supervised: int = 1024) -> Self:
        """At least as large, in these steps: many packs have the same."""
        tokens = _round_up(self.tokens, tokens)
        longest = max(256, 1 << (self.max_length - 1).bit_length())
        # Further tokens are examples of their own, each of them at most the longest.
        ends = len(range(self.tokens, tokens, longest))
        return type(self)(
            tokens,
            _round_up(self.boundaries + ends, boundaries),
            _round_up(self.supervised, supervised),
            longest,
        )

    def holds(self, pack: Pack) -> bool:
        """Whether `fill_pack` can fill that pack up to this size."""
        ends = len(range(pack.tokens, self.tokens, self.max_length))
        return (
            self.tokens >= pack.tokens
            and self.boundaries >= len(pack.boundaries) + ends
            and self.supervised >= len(pack.supervised)
            and self.max_length >= pack.max_length
        )


def plan_packs(lengths: list[int], token_budget: int, multiple: int = 1) -> list[list[int]]:
    """Distribute examples over as few packs of at most `token_budget` tokens as possible
    (heuristic).

    The packs come out about equally full: the fullest one sets the peak memory. An example longer
    than the budget gets a pack of its own. Every example appears exactly once.

    multiple: make the number of packs one of this, where there are examples enough.

    Returns: indices into `lengths`, pack by pack, in the examples' order; deterministic.
    """
    total = sum(length for length in lengths if length <= token_budget)
    count = max(1, -(-total // token_budget)) if total else 0
    alone = [[index] for index, length in enumerate(lengths) if length > token_budget]
    if total:
        count += -(len(alone) + count) % multiple
    order = sorted(
        (index for index, length in enumerate(lengths) if length <= token_budget),
        key=lambda index: (-lengths[index], index),
    )
    while True:
        packs = _spread(order, lengths, count, token_budget)
        if packs is not None:
            return alone + [sorted(pack) for pack in packs if pack]
        count += multiple


def _spread(order, lengths, count, token_budget):
    """Longest first into the emptiest of `count` packs; None when one would overflow."""
    packs: list[list[int]] = [[] for _ in range(count)]
    fill = [0] * count
    for index in order:
        pack = min(range(count), key=fill.__getitem__)
        if fill[pack] + lengths[index] > token_budget:
            return None
        packs[pack].append(index)
        fill[pack] += lengths[index]
    return packs


def build_pack(examples: list[dict], indices: list[int]) -> Pack:
    """Concatenate examples {"input_ids", "labels"} (1-D tensors of equal length) into a Pack.

    Args:
        indices: the examples' numbers in their dataset, for error messages.
    """
    ids = [example["input_ids"] for example in examples]
    labels = [example["labels"] for example in examples]
    lengths = [len(row) for row in ids]
    boundaries = (0, *itertools.accumulate(lengths))
    # Position t predicts token t + 1 of the same example; an example's last position predicts none.
    shifted = torch.cat([*labels, labels[0].new_full((1,), IGNORED)])[1:]
    shifted[torch.tensor(boundaries[1:]) - 1] = IGNORED
    supervised = torch.nonzero(shifted != IGNORED).squeeze(1)
    starts = torch.tensor(boundaries[:-1]).repeat_interleave(torch.tensor(lengths))
    return Pack(
        input_ids=torch.cat(ids).unsqueeze(0).long(),
        position_ids=(torch.arange(boundaries[-1]) - starts).unsqueeze(0),
        cu_seq_lens=torch.tensor(boundaries, dtype=torch.int32),
        supervised=supervised,
        targets=shifted[supervised].long(),
        max_length=max(lengths),
        boundaries=boundaries,
        examples=tuple(indices),
    )


def fill_pack(pack: Pack, size: PackSize) -> Pack:
    """The same pack, filled up to a size that holds it; loss and gradients stay the same.

    Further tokens are examples of their own; further examples are empty; further supervised
    positions have no target.
    """
    more, unsupervised = size.tokens - pack.tokens, size.supervised - len(pack.supervised)
    ends = range(pack.tokens + size.max_length, size.tokens, size.max_length)
    boundaries = [*pack.boundaries, *ends]
    boundaries += [size.tokens] * (size.boundaries - len(boundaries))
    pad = torch.nn.functional.pad
    return replace(
        pack,
        input_ids=pad(pack.input_ids, (0, more)),
        position_ids=pad(pack.position_ids, (0, more)),
        cu_seq_lens=torch.tensor(boundaries, dtype=torch.int32),
        supervised=pad(pack.supervised, (0, unsupervised)),
        targets=pad(pack.targets, (0, unsupervised), value=IGNORED),
        max_length=size.max_length,
        boundaries=tuple(boundaries),
    )


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step


def pack_batch(
    examples: list[dict], indices: list[int], token_budget: int, rank: int = 0, ranks: int = 1
) -> list[Pack]:
    """Cut one global batch into packs; `indices` are the examples' numbers in their dataset.

    rank, ranks: of several processes that share the batch, each gets its own packs, about equally
    many tokens; together they are the whole batch.
    """
    lengths = [len(example["input_ids"]) for example in examples]
    packs = plan_packs(lengths, token_budget, ranks)
    sizes = [sum(lengths[index] for index in pack) for pack in packs]
    return [
        build_pack(
            [examples[member] for member in members], [indices[member] for member in members]
        )
        for members in assign_packs(packs, sizes, ranks)[rank]
    ]


def assign_packs(packs: list[list[int]], sizes: list[int], ranks: int) -> list[list[list[int]]]:
    """The packs of each rank: the largest first, each to the rank with the fewest tokens."""
    if ranks == 1:
        return [packs]
    shares: list[list[list[int]]] = [[] for _ in range(ranks)]
    fill = [0] * ranks
    for number in sorted(range(len(packs)), key=lambda number: (-sizes[number], number)):
        rank = min(range(ranks), key=fill.__getitem__)
        shares[rank].append(packs[number])
        fill[rank] += sizes[number]
    return shares


def count_supervised(example: dict) -> int:
    """Supervised tokens of a packed example; its first token never carries a loss."""
    return int((example["labels"][1:] != IGNORED).sum())
