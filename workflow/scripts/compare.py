#!/usr/bin/env python
"""Bring all cells' scores together: tables of ROUGE, differences, context, diagnostics and cost.

Reads  {results}/data/dev.csv, every cell's scores/ and run.json
Writes {output-dir}/*.csv and *.md (seeds.* only where a cell has several seeds), run.json

Examples:
  python workflow/scripts/compare.py --study embedded --results results/embedded \\
      --output-dir results/embedded/tables
"""

import argparse
import time
from pathlib import Path

from yoyak.config.study import Study, load_study
from yoyak.config.study_settings import Metric
from yoyak.data.dialogues import Dialogue, read_dialogues
from yoyak.errors import UserError, display, run_script
from yoyak.evaluation.comparison import FLIPS, CellKey, difference_rows, seed_rows
from yoyak.evaluation.context import context_rows
from yoyak.evaluation.diagnostics import unchanged_rate
from yoyak.evaluation.prediction_files import read_predictions
from yoyak.evaluation.scoring import read_scores
from yoyak.reporting.cells import (
    ZERO_SHOT,
    ResultCell,
    loss_fall,
    quoted_rows,
    resource_rows,
    result_cells,
    rouge_rows,
    training_cost,
    warned_trainings,
)
from yoyak.reporting.notes import table_notes
from yoyak.reporting.tables import write_table
from yoyak.run.provenance import write_run_record
from yoyak.run.workspace import atomic_directory

READ = ("scores/dialogues.csv", "scores/summary.json", "predictions/dev.jsonl")


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", required=True, help="name of a file in config/studies/")
    parser.add_argument("--debug", action="store_true", help="the study's debug variant")
    parser.add_argument("--results", type=Path, required=True, help="folder of the study's results")
    parser.add_argument("--output-dir", type=Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    study = load_study(options.study, debug=options.debug)
    compare(study, options.results, options.output_dir)


def compare(study: Study, results: Path, output: Path) -> None:
    """Write the tables of a study whose cells are all scored."""
    started = time.perf_counter()
    metric = study.settings.metric
    dev = results / "data" / "dev.csv"
    dialogues = read_dialogues(dev)
    cells = result_cells(study, results)
    summaries, scores = read_cells(cells, dialogues, metric)
    tables = build_tables(study, cells, dialogues, summaries, scores)
    notes = table_notes(
        metric, summaries[0], len(tables["differences"]), FLIPS, warned_trainings(cells)
    )
    with atomic_directory(output) as folder:
        for name, rows in tables.items():
            write_table(folder, name, rows, notes[name])
        write_run_record(
            folder / "run.json",
            step="compare",
            settings={"metric": metric.model_dump()},
            inputs=[dev, *(cell.folder / name for cell in cells for name in READ)],
            seed=metric.seed,
            notes=notes,
            wall_seconds=round(time.perf_counter() - started, 2),
        )
    print(
        f"{display(output)}: {len(cells)} cells, {len(dialogues)} dialogues, {len(tables)} tables"
    )


def read_cells(
    cells: list[ResultCell], dialogues: list[Dialogue], metric: Metric
) -> tuple[list[dict], dict]:
    """Every cell's summary and scores; UserError unless all were scored in the same way."""
    fnames = [dialogue.fname for dialogue in dialogues]
    summaries, scores = [], {}
    for cell in cells:
        folder = cell.folder / "scores"
        summary, of_tokenizers = read_scores(folder, fnames)
        if summary.get("cell") != cell.label:
            raise UserError(
                f"{display(folder)}: holds the scores of {summary.get('cell')}; score again"
            )
        expected = (metric.tokenizers, metric.resamples, metric.seed)
        found = summary["interval"]
        if (list(of_tokenizers), found["resamples"], found["seed"]) != expected:
            raise UserError(f"{display(folder)}: scored with other metric settings; score again")
        if summaries and signatures(summary) != signatures(summaries[0]):
            raise UserError(
                f"{display(folder)}: scored with other tools than {display(cells[0].folder)} "
                "(the signatures in summary.json differ); score both again"
            )
        summaries.append(summary)
        scores[CellKey(**cell.label)] = of_tokenizers
    return summaries, scores


def signatures(summary: dict) -> dict[str, str]:
    return {name: scores["signature"] for name, scores in summary["tokenizers"].items()}


def build_tables(
    study: Study,
    cells: list[ResultCell],
    dialogues: list[Dialogue],
    summaries: list[dict],
    scores: dict,
) -> dict[str, list[dict]]:
    """Rows of every table, in the study's order."""
    metric = study.settings.metric
    groups = [dialogue.group for dialogue in dialogues]
    costs = {CellKey(**cell.label): training_cost(cell) for cell in cells}
    tables: dict[str, list[dict]] = {
        name: [] for name in ("rouge", "groups", "diagnostics", "resources")
    }
    for cell, summary in zip(cells, summaries, strict=True):
        rows, of_groups = rouge_rows(cell, summary, costs[CellKey(**cell.label)])
        tables["rouge"] += rows
        tables["groups"] += of_groups
        tables["diagnostics"].append(
            {**cell.label, **summary["diagnostics"], **effect(cell, cells)}
        )
        expected = study.model(cell.model).resources.expected_gpu_memory_gb
        tables["resources"] += resource_rows(cell, expected)
    for name, by_group in (("differences", False), ("group_differences", True)):
        tables[name] = [
            {**row, **costs[CellKey(*(row[key] for key in CellKey._fields))]}
            for row in difference_rows(scores, groups, metric, by_group=by_group)
        ]
    tables["context"] = context_rows(dialogues, metric)
    tables["quoted"] = list(quoted_rows(study.language))
    if len(study.seeds) > 1:
        tables["seeds"] = seed_rows(scores, metric)
    return tables


def effect(cell: ResultCell, cells: list[ResultCell]) -> dict:
    """Whether the training did anything: predictions that stayed as they were, fall of the loss."""
    if cell.condition == ZERO_SHOT:
        return {}
    start = next(
        other
        for other in cells
        if (other.model, other.format, other.condition) == (cell.model, cell.format, ZERO_SHOT)
    )
    after, before = (
        read_predictions(each.folder / "predictions" / "dev.jsonl") for each in (cell, start)
    )
    return {"unchanged_rate": unchanged_rate(after, before), "loss_fall": loss_fall(cell)}


if __name__ == "__main__":
    run_script(main)
