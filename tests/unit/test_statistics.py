"""Intervals cover, tests don't cry wolf, corrections correct: by simulation and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from yoyak.scoring.statistics import (
    expanded_tail,
    hierarchical_interval,
    holm,
    interval,
    intervals,
    sign_flip_p_values,
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
    p_value = sign_flip_p_values(np.full((5, 1), 0.1), 100_000, seed=1)[0]
    assert p_value == pytest.approx(2 / 32, abs=0.003)
    assert sign_flip_p_values(np.zeros((5, 1)), 100, seed=1)[0] == 1.0


def test_holm_by_hand():
    corrected = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert corrected.tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([])).tolist() == []


@given(hnp.arrays(float, st.integers(1, 12), elements=st.floats(0, 1)))
def test_holm_keeps_order_and_bounds(p_values):
    corrected = holm(p_values)
    assert (corrected >= p_values).all()
    assert (corrected <= 1).all()
    assert (
        corrected <= np.minimum(1, p_values * len(p_values)) + 1e-12
    ).all()  # never past Bonferroni
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()


def test_holm_holds_the_family_rate():
    """20 comparisons without any difference: some alarm in at most 5 % of studies."""
    generator = np.random.default_rng(11)
    studies = [holm(generator.random(20)).min() <= 0.05 for _ in range(4000)]
    assert 0.035 <= np.mean(studies) <= 0.06


def test_holm_holds_the_family_rate_on_tables_of_ours():
    """The same with real tests on real-looking scores: 12 comparisons that share a baseline."""
    generator = np.random.default_rng(4)
    alarms = 0
    for study in range(400):
        scores = generator.beta(4, 6, (40, 13))
        p_values = sign_flip_p_values(scores[:, 1:] - scores[:, :1], 500, seed=study)
        alarms += holm(p_values).min() <= 0.05
    assert alarms / 400 <= 0.07


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


def hierarchical_coverage(seeds: int, seed_sd: float, trials: int) -> float:
    generator = np.random.default_rng(9)
    n, held = 100, 0
    for trial in range(trials):
        dialogues = generator.normal(0, 0.12, n)
        of_seeds = generator.normal(0, seed_sd, (seeds, 1))
        scores = 0.4 + dialogues + of_seeds + generator.normal(0, 0.05, (seeds, n))
        found = hierarchical_interval(scores, 600, seed=trial)
        held += found.low <= 0.4 <= found.high
    return held / trials


@pytest.mark.parametrize("seeds", [3, 5])
def test_hierarchical_interval_counts_seeds(seeds):
    """Seeds that vary about as much as the sample of dialogues does (0.12 / √100)."""
    assert 0.90 <= hierarchical_coverage(seeds, 0.01, trials=500) <= 0.98


def test_hierarchical_interval_is_wider_than_one_that_ignores_seeds():
    generator = np.random.default_rng(6)
    scores = 0.4 + generator.normal(0, 0.1, 100) + np.array([[-0.05], [0.0], [0.05]])
    over = hierarchical_interval(scores, 2000, 1)
    alone = interval(scores.mean(axis=0), 2000, 1)
    assert over.high - over.low > alone.high - alone.low
    assert over.mean == pytest.approx(alone.mean)
    assert hierarchical_interval(scores[:1], 2000, 1) == interval(scores[0], 2000, 1)
