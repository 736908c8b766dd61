"""Scores of one run: every prediction under every metric, and their summary on disk.

scores/dialogues.csv     fname,group,metric,tokenizer,rouge1,rouge2,rougeL,mean (0–1, full
                         precision; mean is the score, of ROUGE that of the three) and peer_mean:
                         against all references but one, as a person's summary is scored; empty
                         where there is one alone
scores/diagnostics.csv   fname,group and the figures of `diagnostics.RATES`
scores/summary.json      means × 100 with intervals, by score and group, and the signatures
A score's name is its tokenizer where it is a ROUGE, else its metric: "morphemes", "chrf".
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
from yoyak.scoring.metrics import open_metrics
from yoyak.scoring.predictions import Prediction
from yoyak.scoring.reader import Reader
from yoyak.scoring.rouge import MEASURES, Rouge
from yoyak.scoring.statistics import intervals
from yoyak.scoring.tokenizers import TOKENIZERS, make_tokenizer

NUMBERS = (*MEASURES, "mean", "peer_mean")
SCORE_COLUMNS = ("fname", "group", "metric", "tokenizer", *NUMBERS)
INTERVAL_METHOD = (
    "95 % over dialogues: t over clusters where they repeat, else bootstrap (expanded percentile)"
)
DECIMALS = 4


@dataclass(frozen=True)
class RunScores:
    """Scores of one run; the arrays have one row a dialogue, in the data's order, 0–1."""

    fnames: list[str]
    groups: list[str]
    scores: dict[str, np.ndarray]  # name → (n, measures): ROUGE's MEASURES, or one
    peers: dict[str, np.ndarray]  # the same against all references but one
    figures: list[dict]  # diagnostics of each dialogue
    summary: dict


def score_run(
    predictions: Sequence[Prediction],
    dialogues: Sequence[Dialogue],
    metric: Metric,
    run: dict,
    language: str,
    training: Sequence[str],
) -> RunScores:
    """Score one prediction a dialogue, both in the same order.

    Args:
        metric: a study's settings: metrics, tokenizers, primary, references, resamples, seed.
        run: model, format, condition and seed, repeated in the summary.
        language: the study's, "ko" or "en".
        training: the training summaries, whose words no summary invents.
    """
    references = [dialogue.summaries for dialogue in dialogues]
    texts = [prediction.prediction for prediction in predictions]
    groups = [dialogue.group for dialogue in dialogues]
    clusters = [dialogue.alike for dialogue in dialogues]
    scores: dict[str, np.ndarray] = {}
    peers: dict[str, np.ndarray] = {}
    summaries = {}
    for name, one in open_metrics(metric).items():
        scores[name], peers[name] = one.score_with_peers(references, texts)
        summaries[name] = {
            "signature": one.signature(references),
            **summaries_by_group(scores[name], groups, metric, clusters),
        }
    reader = Reader(language, make_tokenizer(metric.primary).tokenize, training)
    figures = [
        diagnose(row.prediction, dialogue.dialogue, dialogue.summaries, reader, row.finish)
        for row, dialogue in zip(predictions, dialogues, strict=True)
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
        "scores": summaries,
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


def summaries_by_group(
    scores: np.ndarray, groups: Sequence[str], metric: Metric, clusters: Sequence[str] = ()
) -> dict:
    """{"all": summary, "groups": {group: summary}}; unnamed groups are in "all" only.

    Rows of `scores`, shape (n, measures), that are NaN (one reference alone) are left out and not
    counted.
    """
    scores = np.asarray(scores)
    defined = ~np.isnan(scores).any(axis=1)
    names = np.array(list(clusters) or [""] * len(scores))  # of what makes dialogues alike
    of_groups = {}
    for group in sorted(set(groups) - {""}):
        rows = defined & np.array([other == group for other in groups])
        if rows.any():
            of_groups[group] = summarise_scores(scores[rows], metric, names[rows])
    return {"all": summarise_scores(scores[defined], metric, names[defined]), "groups": of_groups}


def summarise_scores(scores: np.ndarray, metric: Metric, clusters: Sequence[str] = ()) -> dict:
    """Mean × 100 and its interval; of ROUGE also that of each measure, and the sum of these.

    `scores` is 0–1, shape (n, 3) of ROUGE, (n, 1) of others.
    """
    scores = 100 * scores
    of_dialogues = scores.mean(axis=1, keepdims=True)
    of_mean = intervals(of_dialogues, metric.resamples, metric.seed, list(clusters))[0]
    row = {"n": len(scores), **measure_means(scores), "mean": tidy(scores.mean(axis=0).mean())}
    row |= {"ci_low": tidy(of_mean.low), "ci_high": tidy(of_mean.high)}
    return row


def measure_means(scores: np.ndarray) -> dict:
    """Of ROUGE's scores, the last axis its MEASURES: the mean of each, and their sum."""
    if scores.shape[-1] != len(MEASURES):
        return {}
    means = scores.reshape(-1, len(MEASURES)).mean(axis=0)
    return dict(zip(MEASURES, map(tidy, means), strict=True)) | {"rouge_sum": tidy(means.sum())}


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
        score_table(scored.scores[name], scored.peers[name]).assign(**dialogues, **label(name))
        for name in scored.scores
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
    """The columns of numbers of dialogues.csv; a metric that is no ROUGE has the means alone."""
    table = pd.DataFrame(index=range(len(scores)), columns=list(MEASURES), dtype=float)
    if scores.shape[1] == len(MEASURES):
        table[list(MEASURES)] = scores
    return table.assign(mean=scores.mean(axis=1), peer_mean=peers.mean(axis=1))


def label(name: str) -> dict[str, str]:
    """The columns metric and tokenizer of a score."""
    rouge = name in TOKENIZERS
    return {"metric": "rouge" if rouge else name, "tokenizer": name if rouge else ""}


def by_name(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of a dialogues.csv by the names of their scores, in its order."""
    names = table["tokenizer"].where(table["tokenizer"] != "", table["metric"])
    return dict(list(table.groupby(names, sort=False)))


def measured(name: str, table: pd.DataFrame) -> np.ndarray:
    """Scores of a `score_table` as `score_with_peers` gave them: (n, measures)."""
    return table[list(MEASURES) if name in TOKENIZERS else ["mean"]].to_numpy(float)


def read_peers(directory: Path) -> dict[str, np.ndarray]:
    """peer_mean of each dialogue, NaN with one reference: name → (n,); see `read_scores`."""
    texts = dict.fromkeys(("metric", "tokenizer"), "str")
    table = pd.read_csv(directory / "dialogues.csv", dtype=texts, keep_default_na=False,
                        na_values={"peer_mean": [""]})  # fmt: skip
    return {name: rows["peer_mean"].to_numpy(float) for name, rows in by_name(table).items()}


def read_scores(directory: Path, fnames: Sequence[str]) -> tuple[dict, dict[str, np.ndarray]]:
    """Summary and scores that `write_scores` wrote: name → (n, measures), in the data's order.

    Raises UserError if they are missing or are not of these dialogues.
    """
    cure = "run score.py for this run (again)"
    path = directory / "dialogues.csv"
    try:
        summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
        types = {"fname": "str", **dict.fromkeys(NUMBERS, float)}
        blank = {column: [""] for column in NUMBERS}
        table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=blank)
        if tuple(table) != SCORE_COLUMNS:
            raise ValueError("other columns")
        tables = by_name(table)
        names = [list(of_name["fname"]) for of_name in tables.values()]
        scores = {name: measured(name, of_name) for name, of_name in tables.items()}
        if any(np.isnan(of_name).any() for of_name in scores.values()):
            raise ValueError("a score is missing")
    except FileNotFoundError as error:
        raise UserError(f"{display(Path(error.filename))}: no such file; {cure}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{display(directory)}: the scores cannot be read; {cure}") from None
    expected = [safe_cell(fname) for fname in fnames]
    if not names or any(of_name != expected for of_name in names):
        raise UserError(f"{display(path)}: not the dialogues of data/dev.csv, in its order; {cure}")
    return summary, scores


def safe_cell(text: str) -> str:
    """Text from data as a CSV cell that no spreadsheet takes for a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
