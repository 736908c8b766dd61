"""How often intervals cover the truth and tests cry wolf, by simulation; docs/validity.md has it.

    python tests/benchmarks/coverage.py [TRIALS]

Scores are made up: a dialogue's share (standard deviation 12, half of its variance the cluster's
where there are clusters), a seed's, and a rest of 8, points of ROUGE, as paired differences of real
trainings have them. The truth is 0, so that what an interval misses is a false alarm of its test.
"""

import math
import sys

import numpy as np

from yoyak.scoring.seeds import Estimate, estimate
from yoyak.scoring.statistics import intervals, sign_flip_p_values, t_quantile

TRIALS = 2000
SD, REST = 12.0, 8.0
SIZES = (30, 120, 499)
SD_SEEDS = (0.0, 0.6, 2.0)
CLUSTER = 4  # dialogues in one


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS
    error = 100 * 1.96 * math.sqrt(0.05 * 0.95 / trials)
    print(
        f"{trials:,} studies a cell, ± {error:.1f} points. Shares that are covered; sd: of seeds.\n"
    )
    print("| seeds | dialogues | clusters | sd 0 | sd 0.6 | sd 2 | one t, sd 2 | false alarms |")
    print("|---|---|---|---|---|---|---|---|")
    for seeds in (1, 3, 4, 5):
        for clustered in (False, True):
            for n in SIZES:
                cells = (
                    one_seed(n, clustered, trials)
                    if seeds == 1
                    else several_seeds(seeds, n, clustered, trials)
                )
                count = len(set(clusters(n, clustered))) or "none"
                print(f"| {seeds} | {n} | {count} | {' | '.join(cells)} |", flush=True)


def one_seed(n: int, clustered: bool, trials: int) -> list[str]:
    """The interval over dialogues and the sign flips, all trials as columns."""
    generator, names = np.random.default_rng(n), clusters(n, clustered)
    covered = alarms = done = 0
    while done < trials:  # columns share their draws, so that a batch is not the whole
        scores = np.stack([dialogues(generator, n, clustered) for _ in range(100)], axis=1)
        scores += generator.normal(0, REST, scores.shape)
        covered += sum(
            found.low <= 0 <= found.high for found in intervals(scores, 1000, done, names)
        )
        alarms += (sign_flip_p_values(scores, 1000, done, names) <= 0.05).sum()
        done += 100
    return [percent(covered / done), "", "", "", percent(alarms / done)]


def several_seeds(seeds: int, n: int, clustered: bool, trials: int) -> list[str]:
    generator, names = np.random.default_rng(n + seeds), clusters(n, clustered)
    shares = []
    for sd_seeds in SD_SEEDS:
        covered = plain = 0
        for _ in range(trials):
            scores = dialogues(generator, n, clustered) + generator.normal(0, sd_seeds, (seeds, 1))
            found = estimate(scores + generator.normal(0, REST, (seeds, n)), names)
            covered += abs(found.mean) <= found.half()
            plain += abs(found.mean) <= satterthwaite(found)
        shares.append(covered / trials)
    alarms = sorted(1 - share for share in shares)
    return [
        *map(percent, [*shares, plain / trials]),
        f"{percent(alarms[0])} to {percent(alarms[-1])}",
    ]


def satterthwaite(found: Estimate) -> float:
    """Half the interval of one t with Satterthwaite's degrees of freedom, which is not used."""
    variance = max(found.dialogues, found.seeds, found.dialogues + found.seeds - found.rest)
    parts = found.dialogues**2 / found.dialogues_df + found.seeds**2 / found.seeds_df
    return t_quantile(variance**2 / parts, 0.975) * math.sqrt(variance)


def dialogues(generator: np.random.Generator, n: int, clustered: bool) -> np.ndarray:
    if not clustered:
        return generator.normal(0, SD, n)
    shared = generator.normal(0, SD / math.sqrt(2), -(-n // CLUSTER))
    return np.repeat(shared, CLUSTER)[:n] + generator.normal(0, SD / math.sqrt(2), n)


def clusters(n: int, clustered: bool) -> list[str]:
    return [str(place // CLUSTER) for place in range(n)] if clustered else []


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
