"""How often intervals cover the truth and tests cry wolf, by simulation; docs/validity.md has it.

    python tests/benchmarks/coverage.py [TRIALS]            intervals and tests
    python tests/benchmarks/coverage.py --studies [TRIALS]  whole studies without any difference

Scores are made up: a dialogue's share (standard deviation 12, half of its variance the cluster's
where there are clusters), a seed's, and a rest of 8, points of ROUGE, as paired differences of real
trainings have them. The truth is 0, so that what an interval misses is a false alarm of its test.
"""

import math
import sys

import numpy as np

from yoyak.config.study import Run
from yoyak.config.study_settings import Metric
from yoyak.scoring import comparison
from yoyak.scoring.comparison import method_rows, question_rows
from yoyak.scoring.seeds import Estimate, estimate
from yoyak.scoring.statistics import intervals, sign_flip_p_values, t_quantile

TRIALS = 2000
SD, REST = 12.0, 8.0
SIZES = (30, 120, 499)
SD_SEEDS = (0.0, 0.6, 2.0)
CLUSTER = 4  # dialogues in one


def main() -> None:
    numbers = [argument for argument in sys.argv[1:] if argument.isdigit()]
    trials = int(numbers[0]) if numbers else TRIALS
    if "--studies" in sys.argv:
        return whole_studies(trials)
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


def whole_studies(trials: int) -> None:
    """Studies of eight equal trainings and four zero-shot runs as good as they: what they claim."""
    comparison.FLIPS = 1000
    metric = Metric(primary="words", tokenizers=["words"], resamples=100)
    print(f"{trials:,} studies a cell\n")
    print("| seeds | dialogues | any of the three questions | the best against the second |")
    print("|---|---|---|---|")
    for seeds in (1, 3, 5):
        for n in SIZES:
            generator = np.random.default_rng(n + seeds)
            claims = bests = 0
            for _ in range(trials):
                scores = equal_runs(generator, seeds, n)
                verdicts = [row.get("verdict") for row in question_rows(scores, metric)]
                claims += "up" in verdicts or "down" in verdicts
                bests += seeds > 1 and method_rows(scores, metric)[1]["ci_low"] > 0
            best = percent(bests / trials) if seeds > 1 else "no claim"
            print(f"| {seeds} | {n} | {percent(claims / trials)} | {best} |", flush=True)


def equal_runs(generator: np.random.Generator, seeds: int, n: int) -> dict:
    """Run → tokenizer → scores (n, 1): two models, two formats, one instruction and templates."""
    shared = dialogues(generator, n, False)
    runs = [Run(model, form) for model in "ab" for form in ("instruction", "chat")]
    for seed in range(seeds):
        runs += [
            Run(run.model, run.format, condition, seed)
            for run in runs[:4]
            for condition in ("fine_tuned", "fine_tuned_templates")
        ]
    noise = {run: generator.normal(0, SD_SEEDS[1] if run.trained else 0) for run in runs}
    return {
        run: {"words": (shared + noise[run] + generator.normal(0, REST, n))[:, None] / 100}
        for run in runs
    }


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
