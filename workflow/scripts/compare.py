"""Compare all runs: tables of metrics, floors, differences, diagnostics and cost.

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
from yoyak.config.study import Study
from yoyak.data.dialogues import Dialogue, load_split
from yoyak.errors import display, run_script
from yoyak.reporting.alike import refuse_mixtures
from yoyak.reporting.metric_rows import metric_rows, of_rouge
from yoyak.reporting.notes import note_values, table_note
from yoyak.reporting.run_rows import (
    QUOTED,
    context_diagnostics,
    loss_fall,
    resource_rows,
    score_rows,
    training_cost,
    warned_trainings,
)
from yoyak.reporting.tables import RUN, write_table
from yoyak.reporting.texts import Texts
from yoyak.run.provenance import write_run_record
from yoyak.run.workspace import atomic_directory
from yoyak.scoring.comparison import (
    FLIPS,
    difference_rows,
    method_rows,
    metric_tests,
    question_rows,
    seed_rows,
)
from yoyak.scoring.floors import Scores, context_rows
from yoyak.scoring.levels import level_rows
from yoyak.scoring.scored_runs import read_floors, read_runs, scores_of, share_unchanged, signatures
from yoyak.scoring.scores import read_peers

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
    notes = note_values(metric, summaries[0], FLIPS, warned)
    english = Texts("en")  # as the columns are; the report writes the notes in its own language
    with atomic_directory(output) as folder:
        for name, rows in tables.items():
            write_table(folder, name, rows, table_note(english, name, notes, signatures=True))
        write_run_record(
            folder / "run.json",
            step="compare",
            settings={"metric": metric.model_dump()},
            inputs=[
                # Not its run.json: that holds times, and a rerun would change this record.
                *(dev, results / "floors" / "dialogues.csv"),
                *(results / run.folder / name for run in runs for name in READ),
            ],
            seed=metric.seed,
            notes=notes,
            wall_seconds=round(time.perf_counter() - started, 2),
        )
    print(f"{display(output)}: {len(runs)} runs, {len(dialogues)} dialogues, {len(tables)} tables")


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
        rows, of_groups = score_rows(run, summary)
        tables["rouge"] += rows
        tables["groups"] += of_groups
        figures = {**run.record(), **summary["diagnostics"]}
        if run.trained:  # whether the training did anything
            figures["unchanged_rate"] = share_unchanged(run, results)
            figures["loss_fall"] = loss_fall(run, results)
        tables["diagnostics"].append(figures)
        expected = study.model(run.model).resources.expected_gpu_memory_gb
        tables["resources"] += resource_rows(run, results, expected)
    for name, by_group in (("differences", False), ("group_differences", True)):
        tables[name] = difference_rows(scores, groups, metric, clusters, by_group=by_group)
    tables["context"] = context_rows(levels, groups, metric, clusters)
    means = {
        run: {name: each.mean(axis=1) for name, each in of_run.items()}
        for run, of_run in scores.items()
    }
    peers = {run: read_peers(scores_of(run, results)) for run in scores}
    tables["levels"] = level_rows(means, peers, levels, groups, metric, clusters)
    over_seeds = seed_rows(scores, metric, clusters)
    tables["metrics"] = metric_rows(
        metric,
        signatures(summaries[0]),
        [*tables["rouge"], *over_seeds],
        tables["levels"],
        [*metric_tests(scores, metric, clusters), *tables["differences"]],
        tables["context"],
    )
    for name in ("rouge", "groups", "differences", "group_differences", "context", "levels"):
        tables[name] = of_rouge(tables[name], metric)
    costs = pd.DataFrame([{**run.record(), **training_cost(run, results)} for run in study.runs()])
    for name in ("rouge", "groups"):
        if tables[name]:  # data without groups has no rows of groups
            tables[name] = pd.DataFrame(tables[name]).merge(costs, how="left", on=list(RUN))
    tables["questions"] = question_rows(scores, metric, clusters)
    tables["methods"] = method_rows(scores, metric, clusters)
    tables["diagnostics"] += context_diagnostics(results)
    if study.settings.report.quoted:
        tables["quoted"] = QUOTED
    if len(study.seeds) > 1:
        tables["seeds"] = of_rouge(over_seeds, metric)
    return tables


if __name__ == "__main__":
    run_script(main)
