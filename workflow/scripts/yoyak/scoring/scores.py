"""Scores of one run: every prediction under every tokenizer, and their summary on disk.

scores/dialogues.csv     fname,group,tokenizer,rouge1,rouge2,rougeL,rouge_mean (0–1, full precision)
                         and peer_mean: against all references but one, as a person's summary is
                         scored; empty where there is one alone
scores/diagnostics.csv   fname,group and the figures of `diagnostics.RATES`
scores/summary.json      means × 100 with intervals, by tokenizer and group, and the signatures
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from yoyak.config.study_settings import PRIMARY, Metric
from yoyak.data.dialogues import Dialogue
from yoyak.errors import UserError, display
from yoyak.scoring.diagnostics import RATES, diagnose, summarise
from yoyak.scoring.predictions import Prediction
from yoyak.scoring.rouge import MEASURES, Rouge
from yoyak.scoring.statistics import intervals

SCORE_COLUMNS = ("fname", "group", "tokenizer", *MEASURES, "rouge_mean", "peer_mean")
INTERVAL_METHOD = "95 % bootstrap over dialogues (expanded percentile)"
DECIMALS = 4


@dataclass(frozen=True)
class RunScores:
    """Scores of one run; the arrays have one row a dialogue, in the data's order, 0–1."""

    fnames: list[str]
    groups: list[str]
    scores: dict[str, np.ndarray]  # tokenizer → (n, 3), columns as in MEASURES
    peers: dict[str, np.ndarray]  # the same against all references but one
    figures: list[dict]  # diagnostics of each dialogue
    summary: dict


def score_run(
    predictions: Sequence[Prediction], dialogues: Sequence[Dialogue], metric: Metric, run: dict
) -> RunScores:
    """Score one prediction a dialogue, both in the same order.

    Args:
        metric: a study's settings: tokenizers, primary, references, resamples, seed.
        run: model, format, condition and seed, repeated in the summary.
    """
    references = [dialogue.summaries for dialogue in dialogues]
    texts = [prediction.prediction for prediction in predictions]
    groups = [dialogue.group for dialogue in dialogues]
    scores: dict[str, np.ndarray] = {}
    peers: dict[str, np.ndarray] = {}
    of_tokenizers, engines = {}, {}
    for name in metric.tokenizers:
        engines[name] = Rouge(name, metric.references)
        scores[name], peers[name] = engines[name].score_with_peers(references, texts)
        of_tokenizers[name] = {
            "signature": engines[name].signature(references),
            **summaries_by_group(scores[name], groups, metric),
        }
    figures = [
        diagnose(
            prediction, dialogue.summaries, dialogue.dialogue, engines[metric.primary].tokenize
        )
        for prediction, dialogue in zip(predictions, dialogues, strict=True)
    ]
    summary = {
        "run": run,
        "n": len(texts),
        "empty": sum(not text.strip() for text in texts),
        "primary": metric.primary,
        "interval": {
            "method": INTERVAL_METHOD,
            "resamples": metric.resamples,
            "seed": metric.seed,
        },
        "tokenizers": of_tokenizers,
        "diagnostics": {key: tidy(value) for key, value in summarise(figures, predictions).items()},
    }
    fnames = [dialogue.fname for dialogue in dialogues]
    return RunScores(fnames, groups, scores, peers, figures, summary)


def score_texts(
    references: Sequence[Sequence[str]], texts: Sequence[str], language: str
) -> dict[str, float]:
    """Mean F1 × 100 of ROUGE-1, -2 and -L (`MEASURES`), one text a dialogue.

    The tokenizer is the primary one of studies in this language.
    """
    metric = Metric(primary=PRIMARY[language], tokenizers=[PRIMARY[language]])
    scores = Rouge(metric.primary, metric.references).score_all(references, texts)
    found = summarise_scores(scores, metric)
    return {measure: found[measure] for measure in MEASURES}


def summaries_by_group(scores: np.ndarray, groups: Sequence[str], metric: Metric) -> dict:
    """{"all": summary, "groups": {group: summary}}; unnamed groups are in "all" only.

    Rows of `scores`, shape (n, 3), that are NaN (one reference alone) are left out and not counted.
    """
    scores = np.asarray(scores)
    defined = ~np.isnan(scores).any(axis=1)
    of_groups = {}
    for group in sorted(set(groups) - {""}):
        rows = defined & np.array([other == group for other in groups])
        if rows.any():
            of_groups[group] = summarise_scores(scores[rows], metric)
    return {"all": summarise_scores(scores[defined], metric), "groups": of_groups}


def summarise_scores(scores: np.ndarray, metric: Metric) -> dict:
    """Mean F1 × 100 of each measure, their mean and sum, and the interval of rouge_mean.

    `scores` is 0–1, shape (n, 3).
    """
    scores = 100 * scores
    means = scores.mean(axis=0)
    of_mean = intervals(scores.mean(axis=1, keepdims=True), metric.resamples, metric.seed)[0]
    return {
        "n": len(scores),
        **{measure: tidy(value) for measure, value in zip(MEASURES, means, strict=True)},
        "rouge_mean": tidy(means.mean()),
        "rouge_sum": tidy(means.sum()),
        "ci_low": tidy(of_mean.low),
        "ci_high": tidy(of_mean.high),
    }


def tidy(value: float | int | None) -> float | int | None:
    """A figure as it is stored: rounded, and None where it is undefined."""
    if value is None or isinstance(value, int):
        return value
    return None if math.isnan(value) else round(float(value), DECIMALS) + 0.0  # + 0.0: no -0.0


def write_scores(directory: Path, scored: RunScores) -> None:
    """Write dialogues.csv, diagnostics.csv and summary.json into a folder."""
    dialogues = {
        "fname": [safe_cell(fname) for fname in scored.fnames],
        "group": [safe_cell(group) for group in scored.groups],
    }
    scores = pd.concat(
        score_table(scored.scores[tokenizer], scored.peers[tokenizer]).assign(
            **dialogues, tokenizer=tokenizer
        )
        for tokenizer in scored.scores
    )
    figures = pd.DataFrame(scored.figures).assign(**dialogues)
    for name, table, columns in (
        ("dialogues", scores, SCORE_COLUMNS),
        ("diagnostics", figures, ("fname", "group", *RATES)),
    ):
        text = table.to_csv(columns=list(columns), index=False, lineterminator="\n")
        (directory / f"{name}.csv").write_text(text, encoding="utf-8")
    text = json.dumps(scored.summary, ensure_ascii=False, indent=1) + "\n"
    (directory / "summary.json").write_text(text, encoding="utf-8")


def score_table(scores: np.ndarray, peers: np.ndarray) -> pd.DataFrame:
    """The columns of numbers of dialogues.csv."""
    table = pd.DataFrame(scores, columns=list(MEASURES))
    return table.assign(rouge_mean=scores.mean(axis=1), peer_mean=peers.mean(axis=1))


def read_peers(directory: Path) -> dict[str, np.ndarray]:
    """peer_mean of each dialogue, NaN with one reference: tokenizer → (n,); see `read_scores`."""
    table = pd.read_csv(directory / "dialogues.csv", usecols=["tokenizer", "peer_mean"])
    return {
        name: of_name["peer_mean"].to_numpy(float)
        for name, of_name in table.groupby("tokenizer", sort=False)
    }


def read_scores(directory: Path, fnames: Sequence[str]) -> tuple[dict, dict[str, np.ndarray]]:
    """Summary and scores that `write_scores` wrote: tokenizer → (n, 3), in the data's order.

    Raises UserError if they are missing or are not of these dialogues.
    """
    cure = "run score.py for this run (again)"
    path = directory / "dialogues.csv"
    try:
        summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
        types = {"fname": "str", **dict.fromkeys(MEASURES, float)}
        table = pd.read_csv(path, dtype=types, keep_default_na=False)
        if tuple(table) != SCORE_COLUMNS:
            raise ValueError("other columns")
        tables = dict(list(table.groupby("tokenizer", sort=False)))
        names = [list(of_tokenizer["fname"]) for of_tokenizer in tables.values()]
        scores = {name: of_name[list(MEASURES)].to_numpy() for name, of_name in tables.items()}
    except FileNotFoundError as error:
        raise UserError(f"{display(Path(error.filename))}: no such file; {cure}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{display(directory)}: the scores cannot be read; {cure}") from None
    expected = [safe_cell(fname) for fname in fnames]
    if not names or any(of_tokenizer != expected for of_tokenizer in names):
        raise UserError(f"{display(path)}: not the dialogues of data/dev.csv, in its order; {cure}")
    return summary, scores


def safe_cell(text: str) -> str:
    """Text from data as a CSV cell that no spreadsheet takes for a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
