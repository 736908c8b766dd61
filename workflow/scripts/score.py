"""Score one run's predictions on dev: the study's metrics with intervals, and diagnostics.

Reads  {predictions}/dev.jsonl, {predictions}/run.json, {data}/train.csv and {data}/dev.csv
Writes {output-dir}/dialogues.csv, diagnostics.csv, summary.json and run.json

Examples:
  python workflow/scripts/score.py --study embedded --data results/embedded/data \\
      --predictions results/embedded/zero_shot/tiny_llama/chat/predictions \\
      --output-dir results/embedded/zero_shot/tiny_llama/chat/scores
"""

import argparse
import time
from pathlib import Path

from yoyak.config.arguments import add_study_arguments, open_study, script_parser
from yoyak.config.study_settings import Metric
from yoyak.data.dialogues import load_split
from yoyak.errors import run_script
from yoyak.run.provenance import write_run_record
from yoyak.run.workspace import atomic_directory
from yoyak.scoring.predictions import match_predictions, read_predictions, read_run
from yoyak.scoring.rouge import MEASURES
from yoyak.scoring.scores import score_run, write_scores


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add_study_arguments(parser)
    parser.add_argument("--predictions", type=Path, required=True, help="folder of dev.jsonl")
    parser.add_argument("--data", type=Path, required=True, help="folder of train.csv and dev.csv")
    parser.add_argument("--output-dir", type=Path, required=True)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse_arguments(arguments)
    settings = open_study(options).settings
    score(settings.metric, settings.language, options.predictions, options.data, options.output_dir)


def score(metric: Metric, language: str, predictions: Path, data: Path, output: Path) -> None:
    """Score the predictions in a folder with a study's metric settings."""
    started = time.perf_counter()
    train = data / "train.csv"
    predicted, dev, record = predictions / "dev.jsonl", data / "dev.csv", predictions / "run.json"
    run = read_run(record)
    dialogues = load_split(dev)
    summaries = [dialogue.summary for dialogue in load_split(train)]
    fnames = [dialogue.fname for dialogue in dialogues]
    rows = match_predictions(read_predictions(predicted), fnames, predicted, dev)
    scores = score_run(rows, dialogues, metric, run, language, summaries)
    with atomic_directory(output) as folder:
        write_scores(folder, scores)
        write_run_record(
            folder / "run.json",
            step="score",
            settings={"language": language, "metric": metric.model_dump()},
            inputs=[predicted, train, dev],
            run=run,
            seed=metric.seed,
            signatures={
                name: of_score["signature"] for name, of_score in scores.summary["scores"].items()
            },
            wall_seconds=round(time.perf_counter() - started, 2),
        )
    print_summary(scores.summary)


def print_summary(summary: dict) -> None:
    run = summary["run"]
    name = "/".join(str(value) for value in run.values() if value is not None)
    print(f"{name}: {summary['n']} dialogues, {summary['empty']} empty predictions")
    for name, of_score in summary["scores"].items():
        found = of_score["all"]
        between = (found["ci_low"], found["ci_high"])
        shown = "no interval" if None in between else "{:.2f}–{:.2f}".format(*between)
        parts = [f"{key} {found[key]:.2f}" for key in MEASURES if key in found]
        print(f"  {name:18} mean {found['mean']:6.2f} ({shown})", *parts, sep="  ")


if __name__ == "__main__":
    run_script(main)
