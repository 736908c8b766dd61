"""Packs: every example once, none across a boundary, and the right targets."""

import random

import pytest
import torch
from tiny_models import examples

from yoyak.data.packing import IGNORED, build_pack, pack_batch, plan_packs


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
