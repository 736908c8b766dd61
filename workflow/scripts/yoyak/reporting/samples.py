"""Sample dialogues of a run, spread over the ranking by gain, with both predictions."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from yoyak.config.study import Run
from yoyak.data.dialogues import Dialogue
from yoyak.errors import UserError, display
from yoyak.reporting.results import where
from yoyak.reporting.study_tables import Number, score
from yoyak.reporting.tables import read_csv

RANKED = "scores/dialogues"


@dataclass(frozen=True)
class Sample:
    """One dialogue before and after fine-tuning; gain is fine-tuned − zero-shot, 0 to 100."""

    dialogue: Dialogue
    before: str
    after: str
    score_before: Number
    score_after: Number
    gain: float


def choose_samples(
    run: Run,
    dialogues: list[Dialogue],
    results: Path,
    tokenizer: str,
    count: int,
) -> list[Sample]:
    """At most `count` dialogues, evenly spaced in the ranking by gain, worst first.

    Both ends of the ranking are included, so the samples show the whole distribution, not only
    flattering cases.
    """
    before = _scores(run.zero_shot, results, tokenizer)
    after = _scores(run, results, tokenizer)
    first, second = read_predictions(run.zero_shot, results), read_predictions(run, results)
    samples = [
        Sample(
            dialogue=row,
            before=first[row.fname],
            after=second[row.fname],
            score_before=score_before,
            score_after=score_after,
            gain=score_after.value - score_before.value,
        )
        for row, score_before, score_after in zip(dialogues, before, after, strict=True)
    ]
    samples.sort(key=lambda sample: (sample.gain, sample.dialogue.fname))
    return [samples[place] for place in equal_steps(len(samples), count)]


def equal_steps(total: int, count: int) -> list[int]:
    """`count` different places from 0 to total − 1, the ends included."""
    if count >= total:
        return list(range(total))
    if count <= 1:
        return [0][:count]
    return [round(place * (total - 1) / (count - 1)) for place in range(count)]


def _scores(run: Run, results: Path, tokenizer: str) -> list[Number]:
    """Scores of every dialogue, in the data's order, which compare.py has checked."""
    source = f"{run.folder}/{RANKED}"
    means = where(read_scores(run, results), tokenizer=tokenizer)["mean"]
    return [score(f"{source}/{place}/mean", value) for place, value in means.items()]


def read_scores(run: Run, results: Path) -> pd.DataFrame:
    """scores/dialogues.csv of a run: a row per dialogue and score."""
    return read_csv(results / run.folder / f"{RANKED}.csv", "run score.py for this run first")


def read_predictions(run: Run, results: Path) -> dict[str, str]:
    """A run's predictions by fname."""
    path = results / run.folder / "predictions" / "dev.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # a text may hold U+2028
    except OSError as error:
        raise UserError(
            f"{display(path)}: cannot be read ({error.strerror}); run generate.py for this run"
        ) from None
    rows = [json.loads(line) for line in lines if line]
    return {row["fname"]: row["prediction"] for row in rows}
