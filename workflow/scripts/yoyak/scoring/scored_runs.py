"""Read the scores of a study's runs and floors; refuse any that were scored differently."""

from pathlib import Path

from yoyak.config.study import Run
from yoyak.config.study_settings import Metric
from yoyak.data.dialogues import Dialogue
from yoyak.errors import UserError, display
from yoyak.run.workspace import read_json
from yoyak.scoring.diagnostics import unchanged_rate
from yoyak.scoring.floors import Scores, read_levels
from yoyak.scoring.predictions import read_predictions
from yoyak.scoring.scores import read_scores


def read_runs(
    runs: list[Run], results: Path, dialogues: list[Dialogue], metric: Metric
) -> tuple[list[dict], dict]:
    """Every run's summary and scores; UserError unless all were scored with the same settings."""
    fnames = [dialogue.fname for dialogue in dialogues]
    summaries: list[dict] = []
    scores: dict = {}
    for run in runs:
        folder = scores_of(run, results)
        summary, of_metrics = read_scores(folder, fnames)
        if summary.get("run") != run.record():
            raise UserError(
                f"{display(folder)}: holds the scores of {summary.get('run')}; score again"
            )
        expected = (metric.scores, metric.resamples, metric.seed)
        found = summary["interval"]
        if (list(of_metrics), found["resamples"], found["seed"]) != expected:
            raise UserError(f"{display(folder)}: scored with other metric settings; score again")
        if summaries and signatures(summary) != signatures(summaries[0]):
            raise UserError(
                f"{display(folder)}: scored with other tools than "
                f"{display(scores_of(runs[0], results))} "
                "(the signatures in summary.json differ); score both again"
            )
        summaries.append(summary)
        scores[run] = of_metrics
    return summaries, scores


def read_floors(results: Path, dialogues: list[Dialogue], summary: dict) -> Scores:
    """Floors and human agreement; UserError unless they were scored as the runs were."""
    folder, of_runs = results / "floors", signatures(summary)
    fnames = [dialogue.fname for dialogue in dialogues]
    levels = read_levels(folder, fnames, list(of_runs))
    if read_json(folder / "run.json", "run floors.py (again)").get("signatures") != of_runs:
        raise UserError(
            f"{display(folder)}: scored with other tools than the runs (the signatures in "
            "run.json and in the runs' summary.json differ); score all again"
        )
    return levels


def scores_of(run: Run, results: Path) -> Path:
    return results / run.folder / "scores"


def signatures(summary: dict) -> dict[str, str]:
    return {name: scores["signature"] for name, scores in summary["scores"].items()}


def share_unchanged(run: Run, results: Path) -> float:
    """Share of a training's predictions that are identical to the zero-shot ones."""
    after, before = (
        read_predictions(results / each.folder / "predictions" / "dev.jsonl")
        for each in (run, run.zero_shot)
    )
    return unchanged_rate(after, before)
