"""Methods ranked: the best one's paired distance to the others, and what it is not called."""

import math

import numpy as np
import pytest

from yoyak.config.study import Run
from yoyak.config.study_settings import Metric
from yoyak.scoring.comparison import method_rows

METRIC = Metric(primary="words", tokenizers=["words"])


def made_up(generator, gains, seeds, n=60):
    """Scores of methods that are better than the same model zero-shot by these gains.

    Dialogues vary by 12 points, seeds by 1, the rest by 8.
    """
    shared = generator.normal(0.3, 0.12, (n, 1))
    scores = {Run("m", "chat"): {"words": shared}}
    for place, gain in enumerate(gains):
        for seed in range(seeds):
            noise = generator.normal(0, 0.01) + generator.normal(0, 0.08, (n, 1))
            run = Run(f"m{place}", "chat", "fine_tuned", seed)
            scores[run] = {"words": shared + gain + noise}
    return scores


@pytest.mark.parametrize("methods", [2, 8])
@pytest.mark.parametrize("seeds", [3, 6])
def test_the_best_of_equal_methods_is_seldom_called_better_than_the_second(methods, seeds):
    """At most at the stated 5 %, however many methods it was chosen from, however many seeds."""
    generator, trials = np.random.default_rng(2), 300
    alarms = []
    for _ in range(trials):
        scores = made_up(generator, [0] * methods, seeds)
        del scores[Run("m", "chat")]
        alarms.append(method_rows(scores, METRIC)[1]["ci_low"] > 0)
    assert np.mean(alarms) <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / trials)


def test_methods_are_ranked_over_their_seeds_and_paired():
    scores = made_up(np.random.default_rng(1), (0.2, 0.3, -0.1), 3)
    best, *others = method_rows(scores, METRIC)
    assert [row["model"] for row in (best, *others)] == ["m1", "m0", "m", "m2"]
    assert best["seeds"] == 3 and "difference" not in best
    for row in others:  # zero-shot, too: one text, whatever the seed
        gap = best["rouge_mean"] - row["rouge_mean"]
        assert row["difference"] == pytest.approx(gap, abs=1e-3)
        assert row["seeds"] == 3 and 0 < row["ci_low"] < gap < row["ci_high"]
        assert row["detectable"] > 0


@pytest.mark.parametrize("seeds, known", [(1, True), (2, False)])
def test_two_seeds_have_no_interval(seeds, known):
    second = method_rows(made_up(np.random.default_rng(1), (0.2, 0.3), seeds), METRIC)[1]
    assert second["seeds"] == seeds and (second["ci_low"] is not None) == known
