#!/usr/bin/env python
"""Compare all runs: tables of ROUGE, floors, differences, diagnostics and cost.

Reads  {results}/data/dev.csv, floors/, every run's scores/ and run.json
Writes {output-dir}/*.csv and *.md (seeds.* only where a training has several seeds, quoted.* only
where the study asks for it), run.json

Examples:
  python workflow/scripts/compare.py --study embedded --results results/embedded \\
      --output-dir results/embedded/tables
"""

import argparse
import time
from pathlib import Path

import pandas as pd

from yoyak.config.arguments import add_study_arguments, open_study, script_parser
from yoyak.config.study import Run, Study
from yoyak.config.study_settings import Metric
from yoyak.data.dialogues import Dialogue, load_split
from yoyak.errors import UserError, display, run_script
from yoyak.reporting.alike import refuse_mixtures
from yoyak.reporting.notes import table_notes
from yoyak.reporting.run_rows import (
    QUOTED,
    loss_fall,
    read_json,
    resource_rows,
    rouge_rows,
    training_cost,
    warned_trainings,
)
from yoyak.reporting.tables import RUN, write_table
from yoyak.run.provenance import write_run_record
from yoyak.run.workspace import atomic_directory
from yoyak.scoring.comparison import FLIPS, difference_rows, question_rows, seed_rows
from yoyak.scoring.diagnostics import unchanged_rate
from yoyak.scoring.floors import Scores, context_rows, read_levels
from yoyak.scoring.levels import level_rows
from yoyak.scoring.predictions import read_predictions
from yoyak.scoring.scores import read_peers, read_scores

READ = ("scores/dialogues.csv", "scores/summary.json", "predictions/dev.jsonl")


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add_study_arguments(parser)
    parser.add_argument("--results", type=Path, required=True, help="folder of the study's results")
    parser.add_argument("--output-dir", type=Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    study = open_study(options)
    compare(study, options.results, options.output_dir)


def compare(study: Study, results: Path, output: Path) -> None:
    """Write the tables of a study whose runs are all scored."""
    started = time.perf_counter()
    metric = study.settings.metric
    dev = results / "data" / "dev.csv"
    dialogues = load_split(dev)
    runs = study.runs()
    refuse_mixtures(study, results)
    summaries, scores = read_runs(runs, results, dialogues, metric)
    levels = read_floors(results, dialogues, summaries[0])
    tables = build_tables(study, results, dialogues, summaries, scores, levels)
    warned = warned_trainings(runs, results)
    notes = table_notes(metric, summaries[0], FLIPS, warned)
    floors = [results / "floors" / name for name in ("dialogues.csv", "run.json")]
    with atomic_directory(output) as folder:
        for name, rows in tables.items():
            write_table(folder, name, rows, notes[name])
        write_run_record(
            folder / "run.json",
            step="compare",
            settings={"metric": metric.model_dump()},
            inputs=[
                *(dev, *floors),
                *(results / run.folder / name for run in runs for name in READ),
            ],
            seed=metric.seed,
            notes=notes,
            wall_seconds=round(time.perf_counter() - started, 2),
        )
    print(f"{display(output)}: {len(runs)} runs, {len(dialogues)} dialogues, {len(tables)} tables")


def read_runs(
    runs: list[Run], results: Path, dialogues: list[Dialogue], metric: Metric
) -> tuple[list[dict], dict]:
    """Every run's summary and scores; UserError unless all were scored with the same settings."""
    fnames = [dialogue.fname for dialogue in dialogues]
    summaries, scores = [], {}
    for run in runs:
        folder = scores_of(run, results)
        summary, of_tokenizers = read_scores(folder, fnames)
        if summary.get("run") != run.record():
            raise UserError(
                f"{display(folder)}: holds the scores of {summary.get('run')}; score again"
            )
        expected = (metric.tokenizers, metric.resamples, metric.seed)
        found = summary["interval"]
        if (list(of_tokenizers), found["resamples"], found["seed"]) != expected:
            raise UserError(f"{display(folder)}: scored with other metric settings; score again")
        if summaries and signatures(summary) != signatures(summaries[0]):
            raise UserError(
                f"{display(folder)}: scored with other tools than "
                f"{display(scores_of(runs[0], results))} "
                "(the signatures in summary.json differ); score both again"
            )
        summaries.append(summary)
        scores[run] = of_tokenizers
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
    return {name: scores["signature"] for name, scores in summary["tokenizers"].items()}


def build_tables(
    study: Study,
    results: Path,
    dialogues: list[Dialogue],
    summaries: list[dict],
    scores: dict,
    levels: Scores,
) -> dict[str, list[dict] | pd.DataFrame]:
    """Rows of every table, in the study's order."""
    metric = study.settings.metric
    groups = [dialogue.group for dialogue in dialogues]
    clusters = [dialogue.alike for dialogue in dialogues]
    tables: dict = {name: [] for name in ("rouge", "groups", "diagnostics", "resources")}
    for run, summary in zip(study.runs(), summaries, strict=True):
        rows, of_groups = rouge_rows(run, summary)
        tables["rouge"] += rows
        tables["groups"] += of_groups
        done = effect(run, results) if run.trained else {}
        tables["diagnostics"].append({**run.record(), **summary["diagnostics"], **done})
        expected = study.model(run.model).resources.expected_gpu_memory_gb
        tables["resources"] += resource_rows(run, results, expected)
    for name, by_group in (("differences", False), ("group_differences", True)):
        tables[name] = difference_rows(scores, groups, metric, clusters, by_group=by_group)
    tables["questions"] = question_rows(scores, metric, clusters)
    tables["diagnostics"] += context_diagnostics(results)
    costs = pd.DataFrame([{**run.record(), **training_cost(run, results)} for run in study.runs()])
    for name in ("rouge", "groups"):
        if tables[name]:  # data without groups has no rows of groups
            tables[name] = pd.DataFrame(tables[name]).merge(costs, how="left", on=list(RUN))
    tables["context"] = context_rows(levels, groups, metric, clusters)
    means = {
        run: {name: each.mean(axis=1) for name, each in of_run.items()}
        for run, of_run in scores.items()
    }
    peers = {run: read_peers(scores_of(run, results)) for run in scores}
    tables["levels"] = level_rows(means, peers, levels, groups, metric, clusters)
    if study.settings.report.quoted:
        tables["quoted"] = QUOTED
    if len(study.seeds) > 1:
        tables["seeds"] = seed_rows(scores, metric, clusters)
    return tables


def context_diagnostics(results: Path) -> list[dict]:
    """Diagnostics of human summaries, floors and falsified references: one row each."""
    found = read_json(results / "floors" / "run.json", "run floors.py (again)").get("diagnostics")
    rows = []
    for name, figures in (found or {}).items():
        condition, _, kind = name.partition("_")
        label = {"model": condition, "format": kind.replace("_", " ") or "first reference"}
        rows.append({**label, "condition": condition, **figures})
    return rows


def effect(run: Run, results: Path) -> dict:
    """How much a training changed: share of unchanged predictions, fall of the loss."""
    after, before = (
        read_predictions(results / each.folder / "predictions" / "dev.jsonl")
        for each in (run, run.zero_shot)
    )
    return {
        "unchanged_rate": unchanged_rate(after, before),
        "loss_fall": loss_fall(run, results),
    }


if __name__ == "__main__":
    run_script(main)
