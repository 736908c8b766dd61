"""Intervals, paired tests and corrections for scores of dialogues. numpy only, seeded.

Why these methods: see `interval_of_means` and `sign_flip_p_values`; the tests simulate how often
the intervals cover the truth and how often the test cries wolf.
"""

import math
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95
CHUNK = 4_000_000  # numbers drawn at once: 32 MB


class Interval(NamedTuple):
    """A mean and its interval; low and high are NaN where one dialogue alone tells nothing."""

    mean: float
    low: float
    high: float


def interval(scores: np.ndarray, resamples: int, seed: int) -> Interval:
    """Mean of one score a dialogue, shape (n,), with its interval over dialogues."""
    return intervals(np.asarray(scores, dtype=float)[:, None], resamples, seed)[0]


def intervals(scores: np.ndarray, resamples: int, seed: int) -> list[Interval]:
    """Mean and 95 % bootstrap interval of each column of `scores`, shape (n, columns).

    Dialogues are drawn with replacement; the interval lies between percentiles of the drawn means.
    The percentiles are moved outward as Student's t is wider than the normal (Hesterberg, 2015,
    "expanded percentile"): plain percentiles, and BCa too, cover only 90 % at 10 dialogues and 93 %
    at 30, these about 94 % and 95 %. At 500 dialogues the two are the same. Unlike t or bootstrap-t
    intervals they never leave the range of the scores.
    """
    scores = np.asarray(scores, dtype=float)
    n = len(scores)
    if n == 0:
        raise ValueError("no dialogues to take a mean of")
    means = scores.mean(axis=0)
    if n == 1:
        return [Interval(float(mean), math.nan, math.nan) for mean in means]
    drawn = bootstrap_means(scores, resamples, seed)
    tail = expanded_tail(n)
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return [Interval(*map(float, column)) for column in zip(means, low, high, strict=True)]


def bootstrap_means(scores: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means of resampled dialogues: shape (n, columns) → (resamples, columns).

    All columns see the same draws, and so do all calls with equal n and seed.
    """
    n = len(scores)
    generator = np.random.default_rng(seed)
    drawn = []
    for rows in _chunks(resamples, n):
        drawn.append(_draw_counts(generator, rows, n) @ scores / n)
    return np.concatenate(drawn)


def expanded_tail(n: int, confidence: float = CONFIDENCE) -> float:
    """Share of the drawn means to leave out on each side, for n dialogues: at most 2.5 %."""
    from scipy import special  # here: a second that `--help` need not wait

    quantile = special.stdtrit(n - 1, (1 + confidence) / 2)  # of Student's t
    return float(special.ndtr(-quantile * math.sqrt(n / (n - 1))))


def sign_flip_p_values(differences: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Two-sided p of "no difference" for each column of paired differences, shape (n, columns).

    If neither side is better, each dialogue's difference could as well have had the other sign.
    The mean is compared with the means under random signs; counting the observed one too keeps
    the p above 0 and the test honest at any number of resamples.
    """
    differences = np.asarray(differences, dtype=float)
    n, columns = differences.shape
    generator = np.random.default_rng(seed)
    observed = np.abs(differences.sum(axis=0))
    slack = 1e-9 * np.abs(differences).sum(axis=0)  # sums equal but for rounding are equal
    reached = np.zeros(columns, dtype=int)
    for rows in _chunks(resamples, n):
        signs = generator.integers(0, 2, (rows, n), dtype=np.int8) * 2.0 - 1.0
        reached += (np.abs(signs @ differences) >= observed - slack).sum(axis=0)
    return (reached + 1) / (resamples + 1)


def holm(p_values: np.ndarray) -> np.ndarray:
    """p-values corrected for their number (Holm, 1979): 5 % for any false alarm at all."""
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def hierarchical_interval(scores: np.ndarray, resamples: int, seed: int) -> Interval:
    """Mean over seeds and dialogues with an interval that counts both, scores of shape (seeds, n).

    Each resample draws seeds and dialogues with replacement. Few seeds drawn so vary too little
    by the factor (seeds − 1) / seeds; their deviations from the grand mean are enlarged to make
    up for it, and the percentiles are moved outward as in `intervals`. With two or three seeds the
    spread between seeds is a guess all the same.
    """
    scores = np.asarray(scores, dtype=float)
    seeds, n = scores.shape
    mean = float(scores.mean())
    if seeds == 1:
        return interval(scores[0], resamples, seed)
    if n == 1:
        return Interval(mean, math.nan, math.nan)
    deviations = scores.mean(axis=1, keepdims=True) - mean
    enlarged = scores + deviations * (math.sqrt(seeds / (seeds - 1)) - 1)
    generator = np.random.default_rng(seed)
    drawn = []
    for rows in _chunks(resamples, n):
        of_seeds = _draw_counts(generator, rows, seeds) @ enlarged / seeds  # (rows, n)
        drawn.append((_draw_counts(generator, rows, n) * of_seeds).sum(axis=1) / n)
    tail = expanded_tail(n)
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail])
    return Interval(mean, float(low), float(high))


def _draw_counts(generator: np.random.Generator, rows: int, n: int) -> np.ndarray:
    """How often each of n things is drawn in n draws with replacement: shape (rows, n)."""
    drawn = generator.integers(0, n, (rows, n)) + np.arange(rows)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(float)


def _chunks(resamples: int, n: int) -> list[int]:
    rows = max(1, CHUNK // n)
    return [min(rows, resamples - start) for start in range(0, resamples, rows)]
