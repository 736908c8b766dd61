"""Paired differences between runs, and several seeds taken together."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from yoyak.config.study import Run
from yoyak.config.study_settings import Metric
from yoyak.scoring.scores import tidy
from yoyak.scoring.statistics import (
    hierarchical_interval,
    holm,
    intervals,
    sign_flip_p_values,
)

FLIPS = 100_000  # the smallest p is 1 / FLIPS: Holm over a hundred rows must not drown it


class Comparison(NamedTuple):
    """What is compared; the difference is `better`'s score minus `baseline`'s."""

    name: str
    better: Run
    baseline: Run


Scores = Mapping[Run, Mapping[str, np.ndarray]]  # run → tokenizer → (n, 3), 0–1


def comparisons(runs: Sequence[Run]) -> list[Comparison]:
    """Every comparison of interest that the runs allow, in the study's order."""
    pairs = [
        *(("fine_tuned-zero_shot", run, run.zero_shot) for run in runs if run.trained),
        *(
            ("fine_tuned_templates-fine_tuned", run, replace(run, condition="fine_tuned"))
            for run in runs
            if run.condition == "fine_tuned_templates"
        ),
        *(
            ("chat-instruction", run, replace(run, format="instruction"))
            for run in runs
            if run.format == "chat"
        ),
    ]
    known = set(runs)
    return [Comparison(*pair) for pair in pairs if pair[2] in known]


def difference_rows(
    runs: Scores, groups: Sequence[str], metric: Metric, *, by_group: bool = False
) -> list[dict]:
    """Rows of differences.csv: paired over dialogues, on the 0–100 scale of rouge_mean.

    Holm's correction runs over all rows together: every tokenizer is a chance for a false alarm
    too. With `by_group` there is a row for each named group in place of all dialogues.
    """
    labels, columns = [], []
    for comparison in comparisons(list(runs)):
        better, baseline = runs[comparison.better], runs[comparison.baseline]
        for tokenizer in better:
            key = {"comparison": comparison.name, **comparison.better.record()}
            labels.append({**key, "tokenizer": tokenizer})
            columns.append(100 * (better[tokenizer] - baseline[tokenizer]).mean(axis=1))
    if not columns:
        return []
    differences = np.stack(columns, axis=1)  # (n, comparisons × tokenizers)
    if not by_group:
        return _with_holm(_paired(labels, differences, metric), metric)
    named = np.array(groups)
    tested = [
        [row | {"group": group} for row in _paired(labels, differences[named == group], metric)]
        for group in sorted(set(groups) - {""})
    ]
    return _with_holm([row for rows in zip(*tested, strict=True) for row in rows], metric)


def seed_rows(runs: Scores, metric: Metric) -> list[dict]:
    """Rows of seeds.csv: mean ± sd over seeds, and intervals over seeds and dialogues together.

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
            scores = 100 * np.array([runs[run][tokenizer].mean(axis=1) for run in of_key])
            zero_shot = runs.get(key.zero_shot)
            label = {"model": key.model, "format": key.format, "condition": key.condition}
            rows.append({**label, "tokenizer": tokenizer, **_over_seeds(scores, metric)})
            if zero_shot is not None:
                differences = scores - 100 * zero_shot[tokenizer].mean(axis=1)
                over = hierarchical_interval(differences, metric.resamples, metric.seed)
                rows[-1].update(
                    difference=tidy(over.mean),
                    difference_ci_low=tidy(over.low),
                    difference_ci_high=tidy(over.high),
                )
    return rows


def _paired(labels: list[dict], differences: np.ndarray, metric: Metric) -> list[dict]:
    """Each label with the mean, interval and p of its column of differences, shape (n, labels)."""
    found = intervals(differences, metric.resamples, metric.seed)
    p_values = sign_flip_p_values(differences, FLIPS, metric.seed)
    return [
        {
            **label,
            "n": len(differences),
            "difference": tidy(one.mean),
            "ci_low": tidy(one.low),
            "ci_high": tidy(one.high),
            "p_value": float(p_value),
        }
        for label, one, p_value in zip(labels, found, p_values, strict=True)
    ]


def _with_holm(rows: list[dict], metric: Metric) -> list[dict]:
    method = (
        f"paired; expanded-percentile bootstrap, {metric.resamples} resamples; "
        f"sign-flip test, {FLIPS} flips; Holm over {len(rows)}"
    )
    corrected = holm(np.array([row["p_value"] for row in rows]))
    return [
        {**row, "p_holm": float(value), "method": method}
        for row, value in zip(rows, corrected, strict=True)
    ]


def _over_seeds(scores: np.ndarray, metric: Metric) -> dict:
    over = hierarchical_interval(scores, metric.resamples, metric.seed)
    return {
        "seeds": len(scores),
        "n": scores.shape[1],
        "rouge_mean": tidy(over.mean),
        "sd": tidy(scores.mean(axis=1).std(ddof=1)),
        "ci_low": tidy(over.low),
        "ci_high": tidy(over.high),
    }
