"""The mean of several trainings that differ only in their seed, and its uncertainty."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from yoyak.scoring.statistics import (
    CONFIDENCE,
    Interval,
    cluster_codes,
    cluster_variance,
    t_quantile,
)

FEWEST = 3  # two seeds leave one degree of freedom: t would be 12.7 standard errors
POWER = 0.8
SMALLEST_P = 1e-15


class Estimate(NamedTuple):
    """A mean over seeds and dialogues with the two parts of its variance; NaN is unknown."""

    mean: float
    dialogues: float  # variance of the mean over other dialogues
    dialogues_df: float
    rest: float  # part of it that `seeds` holds, too
    seeds: float  # variance of the mean over other seeds; 0 where one seed stands for itself
    seeds_df: float

    def half(self, confidence: float = CONFIDENCE) -> float:
        """Half the width of the interval.

        The sum of both variances, each times the square of its own t (Banerjee, 1960, Sankhya 22):
        at least `confidence` at any share of the two, where one t with Satterthwaite's degrees of
        freedom covers 93 % with three seeds (docs/validity.md, Coverage).
        """
        alone = t_quantile(self.dialogues_df, (1 + confidence) / 2) ** 2
        of_seeds = 0.0
        if self.seeds:
            of_seeds = t_quantile(self.seeds_df, (1 + confidence) / 2) ** 2 * self.seeds
        own = alone * max(self.dialogues - self.rest, 0.0)
        return math.sqrt(max(own + of_seeds, alone * self.dialogues))

    def interval(self) -> Interval:
        half = self.half()
        return Interval(self.mean, self.mean - half, self.mean + half)

    def p_value(self) -> float:
        """Two-sided p of "the mean is 0": 1 − confidence of the interval that ends at 0."""
        distance = abs(self.mean)
        if math.isnan(self.half()):
            return math.nan
        low, high = math.log(SMALLEST_P), 0.0
        for _ in range(60):
            middle = (low + high) / 2
            if self.half(1 - math.exp(middle)) < distance:
                high = middle
            else:
                low = middle
        return math.exp(high)

    def detectable(self) -> float:
        """Smallest true difference that 80 % of studies like this one would detect."""
        return self.half() + self.half(2 * POWER - 1)


def estimate(scores: np.ndarray, clusters: Sequence[str] = ()) -> Estimate:
    """Mean of scores (seeds, n) as of other seeds and other dialogues, both drawn at random.

    The model is score = mean + dialogue + seed + rest, all effects random and crossed. The
    dialogues' means and the seeds' means both vary by the rest, which is counted once. With one
    seed the estimate speaks of these trainings alone, with two of nothing. Dialogues may come in
    clusters, one name a dialogue.
    """
    scores = np.asarray(scores, dtype=float)
    seeds, n = scores.shape
    codes = cluster_codes(clusters, n)
    variance, df = cluster_variance(scores.mean(axis=0)[:, None], codes)
    dialogues, mean = float(variance[0]), float(scores.mean())
    if seeds == 1:
        return Estimate(mean, dialogues, df, 0.0, 0.0, math.nan)
    means = scores.mean(axis=1)
    of_seeds = float(means.var(ddof=1)) / seeds
    if seeds < FEWEST:
        return Estimate(mean, dialogues, math.nan, math.nan, of_seeds, math.nan)
    left = (scores - scores.mean(axis=0) - means[:, None] + mean).T
    rest = float(cluster_variance(left, codes)[0].sum()) / (seeds * (seeds - 1))
    return Estimate(mean, dialogues, df, rest, of_seeds, seeds - 1)


def planned(n: int, seeds: int, sd_dialogues: float, sd_seeds: float) -> Estimate | None:
    """The precision to expect from n dialogues and this many seeds; None with one dialogue or two
    seeds.

    sd_dialogues: of the paired differences, averaged over seeds; sd_seeds: of their means.
    """
    if n < 2 or 1 < seeds < FEWEST:
        return None
    of_seeds = sd_seeds**2 / seeds if seeds > 1 else 0.0
    return Estimate(0.0, sd_dialogues**2 / n, n - 1, 0.0, of_seeds, seeds - 1)
