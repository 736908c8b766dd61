"""The level that a run reaches, against its strongest floor and human agreement."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from yoyak.config.study import Run
from yoyak.config.study_settings import Metric
from yoyak.scoring.floors import FLOOR, HUMAN, Scores
from yoyak.scoring.scores import tidy
from yoyak.scoring.seeds import FEWEST, estimate
from yoyak.scoring.statistics import Interval, intervals

# run → tokenizer → a score a dialogue, 0–1: (n,), or (seeds, n) of a run whose seed is None
Means = Mapping[Run, Mapping[str, np.ndarray]]


def with_seeds_together(runs: Means) -> Means:
    """These runs and, where a training has several seeds, one run without a seed of them all."""
    seeds: dict[Run, list[Run]] = {}
    for run in runs:
        if run.trained:
            seeds.setdefault(replace(run, seed=None), []).append(run)
    together = {
        method: {
            name: np.array([runs[run][name] for run in of_method]) for name in runs[of_method[0]]
        }
        for method, of_method in seeds.items()
        if len(of_method) > 1
    }
    return {**runs, **together}


def level_rows(
    scores: Means,
    peers: Means,
    levels: Scores,
    groups: Sequence[str],
    metric: Metric,
    clusters: Sequence[str] = (),
) -> list[dict]:
    """Rows of levels.csv: each run and tokenizer, all dialogues and each group, on the 0–100 scale.

    levels: floors and human agreement, from `scoring.floors.score_levels`; the rows hold what each
        run reaches against them. A trained run without a seed stands for all its seeds; its
        intervals also cover other seeds.

    floor, difference: the floor from which the run's paired difference is smallest.
    ci_low, ci_high: the lowest over all floors, so that ci_low above 0 says "above every floor",
        ci_high below 0 "below one", and one floor more can only weaken what is said of the run.
    share: of the way from that floor to human agreement, None if human agreement is not above it.
    human_difference: from human agreement, with its interval; both score against all references
        but one.
    """
    names = np.array(groups, dtype=str)
    scores, peers = with_seeds_together(scores), with_seeds_together(peers)
    alike = np.array(list(clusters) or [""] * len(names))
    rows = []
    for group in ("all", *sorted(set(groups) - {""})):
        inside = np.full(len(names), True) if group == "all" else names == group
        labels, columns = [], []
        for label, column in _differences(scores, peers, levels):
            labels.append(label)
            columns.append(100 * column[..., inside])
        found = dict(zip(labels, _intervals(columns, metric, alike[inside]), strict=True))
        for run, of_tokenizers in scores.items():
            for tokenizer in of_tokenizers:
                row = _row(run, tokenizer, found, peers, levels, inside)
                if row:
                    rows.append({**run.record(), "tokenizer": tokenizer, "group": group, **row})
    return rows


def _differences(
    scores: Means, peers: Means, levels: Scores
) -> Iterator[tuple[tuple[Run, str, str], np.ndarray]]:
    """Paired differences from every floor and from human agreement, shape (n,), or NaN."""
    for run, of_tokenizers in scores.items():
        for tokenizer, means in of_tokenizers.items():
            for name, of_name in levels.items():
                table = of_name[tokenizer]
                if name.startswith(FLOOR):
                    yield (run, tokenizer, name), means - table["mean"].to_numpy()
                elif name == HUMAN:
                    yield (
                        (run, tokenizer, name),
                        peers[run][tokenizer] - table["peer_mean"].to_numpy(),
                    )


def _intervals(
    columns: Sequence[np.ndarray], metric: Metric, clusters: np.ndarray
) -> list[tuple[int, Interval] | None]:
    """n and interval of each column over the dialogues that have it; those alike in one go."""
    found: list = [None] * len(columns)
    alike: dict[bytes, list[int]] = {}
    for place, column in enumerate(columns):
        defined = ~np.isnan(column[0] if column.ndim == 2 else column)
        if column.ndim == 1:
            alike.setdefault(defined.tobytes(), []).append(place)
        elif defined.any():
            over = estimate(column[:, defined], list(clusters[defined]))
            none = Interval(over.mean, math.nan, math.nan)
            one = over.interval() if len(column) >= FEWEST else none
            found[place] = int(defined.sum()), one
    for places in alike.values():
        stacked = np.stack([columns[place] for place in places], axis=1)
        defined = ~np.isnan(stacked[:, 0])
        stacked = stacked[defined]
        if len(stacked):
            made = intervals(stacked, metric.resamples, metric.seed, list(clusters[defined]))
            for place, one in zip(places, made, strict=True):
                found[place] = len(stacked), one
    return found


def _row(
    run: Run, tokenizer: str, found: dict, peers: Means, levels: Scores, inside: np.ndarray
) -> dict:
    """The claim about one run; empty where no floor has a score here."""
    of_floors = {name: found[run, tokenizer, name] for name in levels if name.startswith(FLOOR)}
    of_floors = {name: one for name, one in of_floors.items() if one}
    if not of_floors:
        return {}
    floor = min(of_floors, key=lambda name: of_floors[name][1].mean)
    n, smallest = of_floors[floor]
    row = {
        "n": n,
        "floor": floor,
        "difference": tidy(smallest.mean),
        "ci_low": tidy(min(one.low for _, one in of_floors.values())),
        "ci_high": tidy(min(one.high for _, one in of_floors.values())),
    }
    people = found.get((run, tokenizer, HUMAN))
    if people:
        row |= {
            "share": tidy(_share(peers[run][tokenizer], levels, floor, tokenizer, inside)),
            "human_difference": tidy(people[1].mean),
            "human_ci_low": tidy(people[1].low),
            "human_ci_high": tidy(people[1].high),
        }
    return row


def _share(
    own: np.ndarray, levels: Scores, floor: str, tokenizer: str, inside: np.ndarray
) -> float | None:
    """Share of the way from a floor to human agreement, over dialogues that have all three."""
    three = pd.DataFrame(
        {
            "own": own.mean(axis=0) if own.ndim == 2 else own,
            "floor": levels[floor][tokenizer]["peer_mean"],
            "people": levels[HUMAN][tokenizer]["peer_mean"],
        }
    )
    means = three[inside].dropna().mean()
    way = means["people"] - means["floor"]
    return (means["own"] - means["floor"]) / way if way > 0 else None
