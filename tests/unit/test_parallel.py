"""Two processes that share a training learn what one learns, on a tiny real NF4 model in fp32."""

import pytest
import torch
from tiny_models import write_checkpoint
from two_processes import CASES, measure, measure_together

from yoyak.data.packing import pack_batch
from yoyak.run.ranks import run_ranks
from yoyak.training.parallel import Ranks

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """(one process, the first of two, the second of two)."""
    folder = write_checkpoint(tmp_path_factory.mktemp("model"), "llama")
    out = tmp_path_factory.mktemp("found")
    run_ranks(measure_together, (folder, out), ["cpu", "cpu"])
    both = [torch.load(out / f"found{rank}", weights_only=True) for rank in (0, 1)]
    return measure(folder, out / "work", Ranks()), *both


def assert_same(parts, expected, tolerance=TOLERANCE):
    assert parts.keys() == expected.keys()
    for name, part in parts.items():
        distance = (part - expected[name]).norm() / expected[name].norm()
        assert distance < tolerance, f"{name}: {distance:.1e} off"


@pytest.mark.parametrize("case", CASES)
def test_loss_and_every_gradient_are_those_of_one_process(found, case):
    one, first, second = found
    for loss, grads in (first[case], second[case]):
        assert loss == pytest.approx(one[case][0], rel=TOLERANCE)
        assert_same(grads, one[case][1])


def test_after_some_steps_the_parameters_are_those_of_one_process(found):
    one, first, second = found
    assert_same(first["learned"], one["learned"])
    assert first["counted"] == second["counted"] == one["counted"]
    assert first["losses"] == pytest.approx(one["losses"], rel=TOLERANCE)
    assert first["selection"] == pytest.approx(one["selection"], rel=TOLERANCE)


def test_the_processes_never_drift_apart(found):
    """What steers the training is equal to the last bit, so that all stop and save together."""
    _, first, second = found
    assert_same(first["learned"], second["learned"], 1e-30)
    assert_same(first["noisy"], second["noisy"], 1e-30)  # each with noise of its own
    assert first["losses"] == second["losses"]
    assert first["selection"] == second["selection"]


def test_each_process_draws_dropout_masks_of_its_own(found):
    _, first, second = found
    assert not torch.equal(first["draw"], second["draw"])


@pytest.mark.parametrize("ranks", (1, 2, 3, 8))
@pytest.mark.parametrize("budget", (1, 50, 400, 10_000))
def test_shares_are_the_whole_batch_once_and_about_equal(ranks, budget):
    generator = torch.Generator().manual_seed(ranks)
    lengths = torch.randint(5, 120, (41,), generator=generator).tolist()
    rows = [{"input_ids": torch.arange(n), "labels": torch.arange(n)} for n in lengths]
    shares = [pack_batch(rows, list(range(41)), budget, rank, ranks) for rank in range(ranks)]
    numbers = [number for share in shares for pack in share for number in pack.examples]
    assert sorted(numbers) == list(range(41))
    assert all(len(p.examples) == 1 or p.tokens <= budget for share in shares for p in share)
    tokens = [sum(pack.tokens for pack in share) for share in shares]
    assert max(tokens) - min(tokens) <= max(lengths)


def test_more_processes_than_examples_leaves_some_without():
    rows = [{"input_ids": torch.arange(9), "labels": torch.arange(9)}]
    assert [len(pack_batch(rows, [0], 100, rank, 3)) for rank in range(3)] == [1, 0, 0]
