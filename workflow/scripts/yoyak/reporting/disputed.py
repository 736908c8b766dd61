"""Predictions on which the scores differ most: one ranks them high, another low."""

from dataclasses import dataclass
from pathlib import Path

from yoyak.config.study import Run, Study
from yoyak.data.dialogues import Dialogue
from yoyak.reporting.results import records, score_name, where
from yoyak.reporting.samples import read_predictions, read_scores
from yoyak.reporting.study_tables import Number, StudyTables, score
from yoyak.reporting.texts import texts_of

COUNT = 4


@dataclass(frozen=True)
class Ranked:
    """A prediction under one score; place counts from 1, the best of all dialogues."""

    name: str
    score: Number
    place: int


@dataclass(frozen=True)
class Disputed:
    """One prediction under the primary score and under the one that ranks it most differently."""

    dialogue: Dialogue
    prediction: str
    primary: Ranked
    other: Ranked


def best_training(study: Study, study_tables: StudyTables) -> Run:
    """The training with the highest mean: its method's first seed."""
    row = next(row for row in study_tables.rows("methods") if row["variant"])
    found = (
        run
        for run in study.trainings()
        if all(run.record()[key] == row[key] for key in ("model", "variant", "format", "condition"))
    )
    return next(found)


def most_disputed(
    study: Study, run: Run, dialogues: list[Dialogue], results: Path
) -> list[Disputed]:
    """At most COUNT dialogues whose prediction changes its place most between two scores.

    Places, not scores, since metrics have scales of their own. Empty with one score only.
    """
    texts, primary = texts_of(study), study.settings.metric.primary
    table = read_scores(run, results)
    source = f"{run.folder}/scores/dialogues"
    ranked: dict[tuple, list[Ranked]] = {}
    for kind in records(table[["metric", "tokenizer"]].drop_duplicates()):
        metric, tokenizer = kind["metric"], kind["tokenizer"]
        name = score_name(texts, metric if tokenizer is None else tokenizer)
        means = where(table, metric=metric, tokenizer=tokenizer)["mean"]
        places = means.rank(ascending=False, method="min").astype(int)
        ranked[metric, tokenizer] = [
            Ranked(name, score(f"{source}/{row}/mean", value), place)
            for (row, value), place in zip(means.items(), places, strict=True)
        ]
    own = ranked.pop(("rouge", primary))
    if not ranked:
        return []
    predictions = read_predictions(run, results)
    found: list[Disputed] = []
    for row, place in zip(dialogues, own, strict=True):
        at = len(found)
        others = [of_score[at] for of_score in ranked.values()]
        other = max(others, key=lambda one: abs(one.place - place.place))
        found.append(Disputed(row, predictions[row.fname], place, other))
    found.sort(key=lambda one: (-abs(one.primary.place - one.other.place), one.dialogue.fname))
    return found[:COUNT]
