"""Take another run's training in place of training again: the two differ in decoding alone.

Examples:
  python workflow/scripts/take_training.py --experiment tiny_llama --variant beams \\
      --training results/mine/runs/tiny_llama/greedy/chat/fine_tuned/seed42 \\
      --output-dir results/mine/runs/tiny_llama/beams/chat/fine_tuned/seed42

Copies final_model/, training_log.csv and run.json, which then names its own run and, as
`taken_from`, the other training.
"""

import argparse
import shutil
from pathlib import Path

from yoyak.config.arguments import script_parser
from yoyak.errors import run_script
from yoyak.run.provenance import SNAKEMAKES_MARK
from yoyak.run.workspace import atomic_directory, atomic_write_json, atomic_write_text, read_json


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.add_argument("--experiment", required=True, help="model of the run that takes it")
    parser.add_argument("--variant", required=True, help="its variant")
    parser.add_argument("--training", type=Path, required=True, help="folder of the training")
    parser.add_argument("--output-dir", type=Path, required=True)
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_arguments()
    take_training(args.training, args.experiment, args.variant, args.output_dir)
    print(f"wrote {args.output_dir}: the training of {args.training}")


def take_training(training: Path, model: str, variant: str, output: Path) -> None:
    """Copy what a training left behind, its record last."""
    record = read_json(training / "run.json", "train this model first")
    log = (training / "training_log.csv").read_text(encoding="utf-8")
    with atomic_directory(output / "final_model") as folder:
        left_out = shutil.ignore_patterns(SNAKEMAKES_MARK)
        shutil.copytree(training / "final_model", folder, ignore=left_out, dirs_exist_ok=True)
    atomic_write_text(output / "training_log.csv", log)
    run = record["run"] | {"model": model, "variant": variant}
    atomic_write_json(output / "run.json", record | {"run": run, "taken_from": str(training)})


if __name__ == "__main__":
    run_script(main)
