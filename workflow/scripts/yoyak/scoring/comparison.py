"""Paired differences between runs, over all their seeds, and the study's questions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from yoyak.config.study import FEW_SHOT, Run
from yoyak.config.study_settings import Metric
from yoyak.scoring.rouge import MEASURES
from yoyak.scoring.scores import tidy
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


class Comparison(NamedTuple):
    """What is compared; the difference is `better`'s score minus `baseline`'s."""

    name: str
    better: Run
    baseline: Run


Scores = Mapping[Run, Mapping[str, np.ndarray]]  # run → tokenizer → (n, 3), 0–1


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """Every comparison of interest that the runs allow, in the questions' and the study's order."""
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
    """Rows of differences.csv: paired over dialogues and seeds, on the 0–100 scale of rouge_mean.

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

    Primary tokenizer, mean over all trainings that the question is about. A question is tested at 5
    % if all before it are decided, so at most 5 % of studies without any difference claim one. With
    one seed only the first question is tested, and the result holds for these trainings only; with
    two seeds none is tested. With several seeds, each question is followed by a row per seed,
    without interval.
    """
    rows: list[dict] = []
    found = comparisons([run for run in runs if run.trained or run.seed is None])
    open_yet = True
    for name in QUESTIONS:
        pairs = [pair for pair in found if pair.name == name and pair.better.trained]
        if not pairs:
            continue
        of_seeds: dict[int | None, list[np.ndarray]] = {}
        for pair in pairs:
            of_seeds.setdefault(pair.better.seed, []).append(
                _difference(runs, pair, metric.primary)
            )
        scores = np.array([np.mean(each, axis=0) for each in of_seeds.values()])
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
            measures = dict(zip(MEASURES, map(tidy, scores.mean(axis=(0, 1))), strict=True))
            over = _described(scores.mean(axis=2), metric, clusters)
            row: dict = {"model": key.model, "format": key.format, "condition": key.condition}
            row |= {"tokenizer": tokenizer, **measures}
            row |= {"rouge_mean": over.pop("difference"), **over}
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


def _by_method(found: list[Comparison]) -> dict[tuple[str, Run], list[Comparison]]:
    """Comparisons grouped by method: within a group only the seed differs."""
    methods: dict[tuple[str, Run], list[Comparison]] = {}
    for pair in found:
        methods.setdefault((pair.name, replace(pair.better, seed=None)), []).append(pair)
    return methods


def _difference(runs: Scores, pair: Comparison, tokenizer: str) -> np.ndarray:
    """The difference for each dialogue, in points of rouge_mean: shape (n,)."""
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
