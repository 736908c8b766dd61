"""Intervals cover, tests don't cry wolf, power is there: by simulation and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yoyak.scoring.seeds import estimate, planned
from yoyak.scoring.statistics import (
    cluster_codes,
    cluster_variance,
    expanded_tail,
    interval,
    intervals,
    sign_flip_p_values,
    t_quantile,
)

# Per-dialogue scores as they occur: bell-shaped, leaning to 0, and with many exact zeros.
SHAPES = {
    "bell": (lambda generator, size: generator.beta(4, 6, size), 0.4),
    "skewed": (lambda generator, size: generator.beta(1, 4, size), 0.2),
    "zeros": (
        lambda generator, size: generator.beta(2, 6, size) * (generator.random(size) < 0.7),
        0.175,
    ),
}


def coverage(shape: str, n: int, trials: int, resamples: int) -> float:
    """Share of simulated studies whose interval holds the true mean.

    The trials of a call are columns that share their draws: each has its own data.
    """
    draw, truth = SHAPES[shape]
    generator = np.random.default_rng(7)
    held, batch = 0, 100
    for start in range(0, trials, batch):
        found = intervals(draw(generator, (n, batch)), resamples, seed=start)
        held += sum(one.low <= truth <= one.high for one in found)
    return held / trials


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [30, 120])
def test_interval_covers_the_truth(shape, n):
    assert 0.93 <= coverage(shape, n, trials=2000, resamples=1000) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [20, 50, 120, 500])
def test_interval_covers_the_truth_thoroughly(shape, n):
    assert 0.93 <= coverage(shape, n, trials=10_000, resamples=2000) <= 0.97


def false_alarms(n: int, trials: int, flips: int) -> float:
    """Share of comparisons of two equally good systems with p < 0.05; paired by the dialogue."""
    generator = np.random.default_rng(3)
    alarms, batch = 0, 200
    for start in range(0, trials, batch):
        difficulty = generator.normal(0, 0.1, (n, batch))
        first, second = (
            np.clip(0.4 + difficulty + generator.normal(0, 0.08, (n, batch)), 0, 1) for _ in "ab"
        )
        alarms += int((sign_flip_p_values(first - second, flips, seed=start) <= 0.05).sum())
    return alarms / trials


def test_paired_test_has_five_percent_false_alarms():
    assert 0.04 <= false_alarms(60, trials=4000, flips=1000) <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize("n", [20, 100, 500])
def test_paired_test_has_five_percent_false_alarms_thoroughly(n):
    assert 0.04 <= false_alarms(n, trials=10_000, flips=2000) <= 0.06


def test_paired_test_on_lopsided_differences():
    """A difference of two unlike systems of equal mean is not symmetric; the test still holds."""
    generator = np.random.default_rng(5)
    copies = generator.beta(1, 4, (120, 2000)) - generator.beta(4, 16, (120, 2000))  # both mean 0.2
    assert 0.04 <= (sign_flip_p_values(copies, 1000, seed=1) <= 0.05).mean() <= 0.06


def test_paired_test_sees_a_real_difference():
    generator = np.random.default_rng(2)
    differences = generator.normal(0.05, 0.1, (120, 1))
    assert sign_flip_p_values(differences, 10_000, seed=1)[0] < 0.001


def test_p_by_hand():
    # Five dialogues, all better by the same: 2 of the 32 sign patterns reach the observed mean.
    p_value = sign_flip_p_values(np.full((5, 1), 0.1), 30, seed=1)[0]
    assert 1 / 31 <= p_value < 0.3
    assert sign_flip_p_values(np.full((5, 1), 0.1), 100, seed=1)[0] == 2 / 32
    assert sign_flip_p_values(np.zeros((5, 1)), 100, seed=1)[0] == 1.0


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(float, st.integers(2, 40), elements=st.floats(0, 1)), st.integers(0, 5))
def test_interval_is_sane(scores, seed):
    found = interval(scores, 200, seed)
    assert found.mean == pytest.approx(scores.mean())
    assert scores.min() - 1e-12 <= found.low <= found.mean + 1e-12
    assert found.mean - 1e-12 <= found.high <= scores.max() + 1e-12
    assert interval(scores, 200, seed) == found  # the same seed, the same interval


def test_one_dialogue_has_no_interval():
    found = interval(np.array([0.5]), 100, 1)
    assert found.mean == 0.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_percentiles_widen_for_few_dialogues_only():
    assert expanded_tail(5) < expanded_tail(30) < expanded_tail(500) < 0.025
    assert expanded_tail(100_000) == pytest.approx(0.025, abs=1e-4)


def test_chunks_change_nothing(monkeypatch):
    scores = np.random.default_rng(1).random((30, 3))
    whole = intervals(scores, 1000, 5)
    p_values = sign_flip_p_values(scores - 0.5, 1000, 5)
    monkeypatch.setattr("yoyak.scoring.statistics.CHUNK", 3000)
    parts = intervals(scores, 1000, 5)
    assert np.array(parts) == pytest.approx(np.array(whole), abs=1e-12)
    assert sign_flip_p_values(scores - 0.5, 1000, 5).tolist() == p_values.tolist()


# ---- clusters ----


def test_clusters_of_one_are_dialogues():
    scores = np.random.default_rng(1).random((30, 2))
    variance, df = cluster_variance(scores, cluster_codes([], 30))
    assert variance == pytest.approx(scores.var(axis=0, ddof=1) / 30)
    assert df == pytest.approx(29)
    assert intervals(scores, 200, 1, [str(i) for i in range(30)]) == intervals(scores, 200, 1)


def test_equal_clusters_are_a_t_over_their_means():
    scores = np.random.default_rng(1).random((28, 1))
    means = scores.reshape(7, 4).mean(axis=1)
    variance, df = cluster_variance(scores, np.repeat(np.arange(7), 4))
    assert variance[0] == pytest.approx(means.var(ddof=1) / 7) and df == pytest.approx(6)


def test_unnamed_dialogues_are_their_own_cluster():
    assert cluster_codes(["a", "", "a", ""], 4).tolist() == [0, 1, 0, 2]


def test_one_cluster_tells_nothing():
    found = intervals(np.random.default_rng(1).random((9, 1)), 100, 1, ["a"] * 9)[0]
    assert math.isnan(found.low) and math.isnan(found.high)


@pytest.mark.parametrize("sizes", [[5] * 7, [1, 2, 3, 4, 5, 6, 9, 3, 2, 1]])
def test_intervals_and_tests_hold_where_dialogues_are_alike(sizes):
    """Half the variance is the clusters'; a test that counts dialogues cries wolf."""
    generator = np.random.default_rng(2)
    names = [str(place) for place, size in enumerate(sizes) for _ in range(size)]
    codes, trials = cluster_codes(names, len(names)), 3000
    scores = generator.normal(0, 1, (len(sizes), trials))[codes]
    scores += generator.normal(0, 1, (len(names), trials))
    held = [one.low <= 0 <= one.high for one in intervals(scores, 100, 1, names)]
    assert 0.935 <= np.mean(held) <= 0.975
    assert (sign_flip_p_values(scores, 2000, 1, names) <= 0.05).mean() <= 0.06
    assert (sign_flip_p_values(scores, 500, 1) <= 0.05).mean() > 0.1


def test_all_signs_are_tried_where_there_are_few():
    p_value = sign_flip_p_values(np.ones((7, 1)), 1000, 1)[0]
    assert p_value == 2 / 2**7


# ---- seeds ----


def simulated(generator, seeds, n, sd, of_seeds, rest):
    scores = generator.normal(0, sd, n) + generator.normal(0, of_seeds, (seeds, 1))
    return scores + generator.normal(0, rest, (seeds, n))


@pytest.mark.parametrize("of_seeds", [0.0, 0.5, 2.0])
def test_more_seeds_of_one_method_make_no_difference(of_seeds):
    """Two equal methods differ at 5 % at most, however many seeds, however much seeds vary."""
    generator = np.random.default_rng(3)
    for seeds in (3, 4, 6):
        trials = [simulated(generator, seeds, 499, 12.0, of_seeds, 8.0) for _ in range(1000)]
        found = map(estimate, trials)
        alarms = np.mean([abs(one.mean) > one.half() for one in found])
        assert alarms <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 1000), (seeds, of_seeds)


def test_p_and_interval_agree():
    generator = np.random.default_rng(4)
    for _ in range(50):
        scores = 1.0 + simulated(generator, 3, 40, 3.0, 0.5, 2.0)
        found = estimate(scores)
        low, high = found.interval()[1:]
        assert (found.p_value() < 0.05) == (low > 0 or high < 0)


def test_one_seed_speaks_of_itself_and_two_of_nothing():
    scores = simulated(np.random.default_rng(5), 3, 60, 12.0, 2.0, 4.0)
    alone, pair, three = (estimate(scores[:count]) for count in (1, 2, 3))
    assert alone.half() == pytest.approx(
        t_quantile(59, 0.975) * scores[0].std(ddof=1) / math.sqrt(60)
    )
    assert math.isnan(pair.half()) and math.isnan(pair.p_value()) and math.isnan(pair.detectable())
    assert three.half() > 0 and pair.mean == pytest.approx(scores[:2].mean())


def test_equal_scores_differ_in_nothing():
    found = estimate(np.zeros((3, 20)))
    assert found.interval() == (0.0, 0.0, 0.0) and found.p_value() == 1.0


@pytest.mark.parametrize("seeds, of_seeds", [(1, 0.0), (3, 1.0), (5, 1.0)])
def test_the_smallest_difference_is_told_in_four_of_five(seeds, of_seeds):
    """Of studies whose true difference it is; with few seeds in a little fewer (docs)."""
    generator = np.random.default_rng(6)
    smallest = planned(120, seeds, 12.0, of_seeds).detectable()
    trials = [smallest + simulated(generator, seeds, 120, 12.0, of_seeds, 0.0) for _ in range(600)]
    assert 0.74 <= np.mean([one.mean > one.half() for one in map(estimate, trials)]) <= 0.93


def test_nothing_is_planned_from_two_seeds():
    assert planned(100, 2, 10.0, 1.0) is None
    assert planned(499, 5, 10.0, 1.0).detectable() < planned(499, 3, 10.0, 1.0).detectable()
