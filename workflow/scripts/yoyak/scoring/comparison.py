"""Paired differences between runs, over all their seeds, and the study's questions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from yoyak.config.study import FEW_SHOT, Run
from yoyak.config.study_settings import Metric
from yoyak.scoring.scores import measure_means, tidy
from yoyak.scoring.seeds import FEWEST, estimate
from yoyak.scoring.statistics import Interval, cluster_codes, intervals, sign_flip_p_values

FLIPS = 100_000
SIGNIFICANT = 0.05
QUESTIONS = (  # in the order in which they are tested
    "fine_tuned-zero_shot",
    "fine_tuned_templates-fine_tuned",
    "chat-instruction",
)
BESIDE = ("fine_tuned-few_shot", "few_shot-zero_shot")  # no question: never tested
VARIANT = "variant-"  # of a comparison's name; then the variant that is subtracted


class Comparison(NamedTuple):
    """What is compared; the difference is `better`'s score minus `baseline`'s."""

    name: str
    better: Run
    baseline: Run


Scores = Mapping[Run, Mapping[str, np.ndarray]]  # run → name of a score → (n, measures), 0–1


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """Every comparison of interest that the runs allow, in the questions' and the study's order."""
    variants = list(dict.fromkeys(run.variant for run in runs if run.trained))
    pairs = [
        *((QUESTIONS[0], run, run.zero_shot) for run in runs if run.trained),
        *(
            (QUESTIONS[1], run, replace(run, condition="fine_tuned"))
            for run in runs
            if run.condition == "fine_tuned_templates"
        ),
        *(
            (QUESTIONS[2], run, replace(run, format="instruction"))
            for run in runs
            if run.format == "chat"
        ),
        *(
            (VARIANT + other, run, replace(run, variant=other))
            for run in runs
            if run.trained
            for other in variants[: variants.index(run.variant)]
        ),
        *((BESIDE[0], run, run.few_shot) for run in runs if run.trained),
        *((BESIDE[1], run, run.zero_shot) for run in runs if run.condition == FEW_SHOT),
    ]
    known = set(runs)
    return [Comparison(*pair) for pair in pairs if pair[2] in known]


def difference_rows(
    runs: Scores,
    groups: Sequence[str],
    metric: Metric,
    clusters: Sequence[str] = (),
    *,
    by_group: bool = False,
) -> list[dict]:
    """Rows of differences.csv: paired over dialogues and seeds, on a scale of 0–100.

    The intervals are not adjusted for their number, and nothing is tested: see `question_rows`.
    With `by_group` there is one row per named group instead of one for all dialogues.
    """
    rows = []
    named = np.array(groups)
    parts = sorted(set(groups) - {""}) if by_group else [None]
    for (name, method), pairs in _by_method(comparisons(list(runs))).items():
        label = {"comparison": name, **method.record()}
        for tokenizer in runs[pairs[0].better]:
            scores = np.array([_difference(runs, pair, tokenizer) for pair in pairs])
            for group in parts:
                kept = np.ones(scores.shape[1], bool) if group is None else named == group
                of_kept = [cluster for cluster, keep in zip(clusters, kept, strict=False) if keep]
                found = {"tokenizer": tokenizer} | ({} if group is None else {"group": group})
                rows.append({**label, **found, **_described(scores[:, kept], metric, of_kept)})
    return rows


def question_rows(runs: Scores, metric: Metric, clusters: Sequence[str] = ()) -> list[dict]:
    """Rows of questions.csv: one pooled difference for each question, tested in their order.

    Primary tokenizer, mean over all trainings of the first variant that the question is about; the
    other variants add no test. A question is tested at 5 % if all before it are decided, so at most
    5 % of studies without any difference claim one. With one seed only the first question is
    tested, and the result holds for these trainings only; with two seeds none is tested. With
    several seeds, each question is followed by a row per seed, without interval.
    """
    rows: list[dict] = []
    found = _asked(runs)
    open_yet = True
    for name in QUESTIONS:
        pairs = [pair for pair in found if pair.name == name and pair.better.trained]
        if not pairs:
            continue
        of_seeds = _pooled(runs, pairs, metric.primary)
        scores = np.array(list(of_seeds.values()))
        row: dict = {"comparison": name, "trainings": len(pairs) // len(scores)}
        row |= _described(scores, metric, clusters)
        if len(scores) == 1:
            p_value = sign_flip_p_values(scores.T, FLIPS, metric.seed, clusters)[0]
        else:
            p_value = estimate(scores, clusters).p_value()
        if len(scores) >= FEWEST or (len(scores) == 1 and name == QUESTIONS[0]):
            row["detectable"] = tidy(estimate(scores, clusters).detectable())
            row["verdict"] = "not tested"
            if open_yet:
                row["p_value"] = None if math.isnan(p_value) else float(p_value)
                open_yet = p_value < SIGNIFICANT
                side = "up" if row["difference"] > 0 else "down"
                row["verdict"] = side if open_yet else "undecided"
        else:
            row["verdict"] = "no claim"
        rows.append(row)
        if len(scores) > 1:
            rows += [
                {"comparison": name, "seed": seed, "n": len(one), "difference": tidy(one.mean())}
                for seed, one in zip(of_seeds, scores, strict=True)
            ]
    return rows


def metric_tests(runs: Scores, metric: Metric, clusters: Sequence[str] = ()) -> list[dict]:
    """The first question under every score, pooled over the trainings that `question_rows` takes.

    test: "confirmatory" under the primary score, whose p is that of questions.csv; else
    "sensitivity": not adjusted for the number of metrics, and no claim rests on it.
    """
    pairs = [pair for pair in _asked(runs) if pair.name == QUESTIONS[0]]
    pooled = {
        name: np.array(list(_pooled(runs, pairs, name).values())) for name in metric.scores
    }  # each (seeds, n)
    seeds = len(pooled[metric.primary])
    if seeds == 1:
        columns = np.stack([scores[0] for scores in pooled.values()], axis=1)
        p_values = [float(p) for p in sign_flip_p_values(columns, FLIPS, metric.seed, clusters)]
    else:
        p_values = [estimate(scores, clusters).p_value() for scores in pooled.values()]
    return [
        {
            "comparison": QUESTIONS[0],
            "tokenizer": name,
            **_described(scores, metric, clusters),
            "p_value": None if math.isnan(p_value) else p_value,
            "test": "confirmatory" if name == metric.primary else "sensitivity",
        }
        for (name, scores), p_value in zip(pooled.items(), p_values, strict=True)
    ]


def seed_rows(runs: Scores, metric: Metric, clusters: Sequence[str] = ()) -> list[dict]:
    """Rows of seeds.csv: means over seeds with intervals over other seeds and other dialogues.

    Empty unless some training has two seeds or more.
    """
    seeds: dict[Run, list[Run]] = {}
    for run in runs:
        if run.trained:
            seeds.setdefault(replace(run, seed=None), []).append(run)
    rows = []
    for key, of_key in seeds.items():
        if len(of_key) < 2:
            continue
        for tokenizer in runs[of_key[0]]:
            scores = 100 * np.array([runs[run][tokenizer] for run in of_key])  # (seeds, n, 3)
            over = _described(scores.mean(axis=2), metric, clusters)
            row: dict = {**key.record(), "tokenizer": tokenizer, **measure_means(scores)}
            row |= {"mean": over.pop("difference"), **over}
            if key.zero_shot in runs:
                pairs = [Comparison("", run, run.zero_shot) for run in of_key]
                differences = np.array([_difference(runs, pair, tokenizer) for pair in pairs])
                found = _described(differences, metric, clusters)
                row |= {
                    "difference": found["difference"],
                    "difference_ci_low": found["ci_low"],
                    "difference_ci_high": found["ci_high"],
                }
            rows.append(row)
    return rows


def method_rows(runs: Scores, metric: Metric, clusters: Sequence[str] = ()) -> list[dict]:
    """Rows of methods.csv: every method (a run whatever its seed), the best mean first.

    Primary tokenizer. difference: the best one's mean minus the row's, paired over dialogues and
    the seeds that both have. Choosing the best of many equal methods does not make it differ from
    the second more often than at 5 %: the two at the top are closer than two drawn at random
    (Gutmann and Maymin, 1987, Annals of Statistics 15).
    """
    of_methods: dict[Run, dict[int | None, np.ndarray]] = {}
    for run, of_run in runs.items():
        score = 100 * of_run[metric.primary].mean(axis=1)
        of_methods.setdefault(replace(run, seed=None), {})[run.seed] = score
    means = {method: np.mean(list(scores.values())) for method, scores in of_methods.items()}
    best, *others = sorted(means, key=lambda method: -means[method])
    label = {**best.record(), "rouge_mean": tidy(means[best])}
    rows = [{**label, "seeds": len(of_methods[best])}]
    for method in others:
        label = {**method.record(), "rouge_mean": tidy(means[method])}
        gap = _gap(of_methods[best], of_methods[method])
        if len(gap):  # variants may have no seed in common
            label |= _described(gap, metric, clusters)
            label["detectable"] = tidy(estimate(gap, clusters).detectable())
        rows.append(label)
    return rows


def _gap(best: dict, other: dict) -> np.ndarray:
    """Two methods' scores by seed → differences over the seeds that both have: (seeds, n)."""
    if None in best or None in other:  # what was not trained stands beside each seed
        seeds = best.keys() | other.keys()
        seeds = seeds - {None} or seeds
    else:
        seeds = best.keys() & other.keys()
    return np.array(
        [best[s if s in best else None] - other[s if s in other else None] for s in seeds]
    )


def _asked(runs: Scores) -> list[Comparison]:
    """The comparisons that the questions are about: those of the first variant."""
    variant = next((run.variant for run in runs if run.trained), None)
    return comparisons([run for run in runs if not run.trained or run.variant == variant])


def _by_method(found: list[Comparison]) -> dict[tuple[str, Run], list[Comparison]]:
    """Comparisons grouped by method: within a group only the seed differs."""
    methods: dict[tuple[str, Run], list[Comparison]] = {}
    for pair in found:
        methods.setdefault((pair.name, replace(pair.better, seed=None)), []).append(pair)
    return methods


def _pooled(runs: Scores, pairs: Sequence[Comparison], name: str) -> dict[int | None, np.ndarray]:
    """Of each seed the differences under one score, averaged over its trainings: shape (n,)."""
    of_seeds: dict[int | None, list[np.ndarray]] = {}
    for pair in pairs:
        of_seeds.setdefault(pair.better.seed, []).append(_difference(runs, pair, name))
    return {seed: np.mean(each, axis=0) for seed, each in of_seeds.items()}


def _difference(runs: Scores, pair: Comparison, tokenizer: str) -> np.ndarray:
    """The difference for each dialogue, in points: shape (n,)."""
    better, baseline = runs[pair.better][tokenizer], runs[pair.baseline][tokenizer]
    return 100 * (better - baseline).mean(axis=1)


def _described(scores: np.ndarray, metric: Metric, clusters: Sequence[str]) -> dict:
    """Mean, spread and interval of scores or differences of shape (seeds, n)."""
    seeds, n = scores.shape
    found = estimate(scores, clusters)
    count = int(cluster_codes(clusters, n).max()) + 1
    if seeds == 1:
        over = intervals(scores.T, metric.resamples, metric.seed, clusters)[0]
        method = "these trainings alone; " + (
            f"t over {count} clusters" if count < n else "expanded-percentile bootstrap"
        )
    else:
        over = found.interval() if seeds >= FEWEST else Interval(found.mean, math.nan, math.nan)
        method = f"crossed effects of {seeds} seeds and {count} clusters of dialogues"
    return {
        "seeds": seeds,
        "n": n,
        "clusters": count,
        "difference": tidy(over.mean),
        "sd_dialogues": tidy(math.sqrt(found.dialogues * n)),
        "sd": tidy(math.sqrt(found.seeds * seeds)) if seeds > 1 else None,
        "ci_low": tidy(over.low),
        "ci_high": tidy(over.high),
        "method": method,
    }
