"""Packs: every example once, none across a boundary, and the right targets."""

import itertools
import random
from dataclasses import replace

import pytest
import torch
from tiny_models import examples

from yoyak.data.packing import IGNORED, PackSize, build_pack, fill_pack, pack_batch, plan_packs
from yoyak.training.pack_graphs import PackGraphs


@pytest.mark.parametrize("budget", (1, 50, 100, 333, 2048, 10**6))
def test_every_example_has_one_place_within_the_budget(budget):
    generator = random.Random(budget)
    for _ in range(50):
        lengths = [generator.randint(1, 400) for _ in range(generator.randint(1, 70))]
        packs = plan_packs(lengths, budget)
        assert sorted(index for pack in packs for index in pack) == list(range(len(lengths)))
        for pack in packs:
            assert sum(lengths[i] for i in pack) <= budget or len(pack) == 1
        assert packs == plan_packs(lengths, budget)


def test_packs_are_about_equally_full():
    generator = random.Random(1)
    lengths = [generator.randint(60, 1224) for _ in range(64)]
    packs = plan_packs(lengths, 8192)
    fills = [sum(lengths[i] for i in pack) for pack in packs]
    assert len(packs) == -(-sum(lengths) // 8192)
    assert max(fills) < 1.1 * min(fills)


def test_a_pack_restarts_positions_and_shifts_targets_within_examples():
    rows = examples((5, 3))
    pack = build_pack(rows, [17, 4])
    assert pack.examples == (17, 4)
    assert pack.position_ids.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2]]
    assert pack.cu_seq_lens.tolist() == [0, 5, 8]
    assert (pack.boundaries, pack.max_length, pack.tokens) == ((0, 5, 8), 5, 8)
    expected = [
        (start + place - 1, row["labels"][place].item())
        for start, row in zip((0, 5), rows, strict=True)
        for place in range(1, len(row["labels"]))
        if row["labels"][place] != IGNORED
    ]
    assert list(zip(pack.supervised.tolist(), pack.targets.tolist(), strict=True)) == expected


def test_the_end_token_is_supervised_even_where_it_is_the_pad_token():
    rows = examples((9, 14))
    for row in rows:
        row["input_ids"][-1] = row["labels"][-1] = 0  # as with pad = eos = 0
    pack = build_pack(rows, [0, 1])
    assert pack.supervised[pack.targets == 0].tolist().count(7) == 1  # predicts position 8
    assert pack.supervised.max().item() == 9 + 12


def test_a_first_label_is_never_a_target():
    """Nothing comes before an example's first token, not the end of its neighbour."""
    rows = [{"input_ids": torch.arange(4), "labels": torch.arange(4)} for _ in range(3)]
    pack = build_pack(rows, [0, 1, 2])
    assert pack.supervised.tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert pack.targets.tolist() == [1, 2, 3] * 3


def test_packs_move_to_a_device_with_their_numbers():
    pack = build_pack(examples((5, 3)), [0, 1]).to("meta")
    assert pack.input_ids.is_meta and pack.targets.is_meta
    assert pack.boundaries == (0, 5, 8)


def test_a_batch_keeps_the_examples_numbers():
    packs = pack_batch(examples((30, 20, 10)), [7, 8, 9], 30)
    assert sorted(number for pack in packs for number in pack.examples) == [7, 8, 9]
    assert [pack.tokens for pack in packs] == [30, 30]


def test_a_filled_pack_has_the_size_asked_for():
    generator = random.Random(5)
    for _ in range(200):
        lengths = [generator.randint(2, 300) for _ in range(generator.randint(1, 20))]
        pack = build_pack(examples(lengths), list(range(len(lengths))))
        own = PackSize.of(pack).rounded(tokens=256, boundaries=8, supervised=64)
        larger = PackSize(
            own.tokens + generator.choice((0, 1, 700)), own.boundaries + generator.randint(0, 4),
            own.supervised + generator.randint(0, 9), own.max_length * generator.choice((1, 2)),
        )  # fmt: skip
        assert own.holds(pack)
        for size in (own, larger):
            if not size.holds(pack):
                continue
            full = fill_pack(pack, size)
            assert PackSize.of(full) == size
            assert full.boundaries == tuple(full.cu_seq_lens.tolist())
            steps = [b - a for a, b in itertools.pairwise(full.boundaries)]
            assert min(steps) >= 0 and max(steps) <= size.max_length
            assert full.boundaries[: len(pack.boundaries)] == pack.boundaries
            assert full.boundaries[-1] == full.input_ids.shape[1] == full.position_ids.shape[1]
            assert len(full.supervised) == len(full.targets) == size.supervised
            assert (full.targets[len(pack.targets) :] == IGNORED).all()
        assert not replace(own, supervised=len(pack.supervised) - 1).holds(pack)
        assert not replace(own, max_length=pack.max_length - 1).holds(pack)


def test_a_pack_takes_the_smallest_graph_that_holds_it():
    graphs = PackGraphs(lambda *_: torch.zeros(()), [torch.nn.Parameter(torch.zeros(2))])
    pack = build_pack(examples((200,) * 80), list(range(80)))
    own = graphs.fill(pack)
    assert own.tokens == 16384
    near = PackSize.of(build_pack(examples((256,) * 66), list(range(66)))).rounded()
    far = replace(near, tokens=20480)
    for size in (far, near, replace(near, supervised=64)):
        graphs.recorded[size] = None
    assert PackSize.of(graphs.fill(pack)) == near and near.tokens == 17408
    del graphs.recorded[near]
    assert PackSize.of(graphs.fill(pack)) == PackSize.of(own)
