"""Write one training's model card: a README.md in the Hugging Face Hub's format, scores included.

Example:
  python workflow/scripts/model_card.py --study embedded --experiment tiny_llama --format chat \\
      --augmentation none --seed 42 --results results/embedded \\
      --output results/embedded/runs/tiny_llama/default/chat/fine_tuned/seed42/README.md
"""

import argparse
from pathlib import Path

from yoyak.config.arguments import add_study_arguments, open_study, script_parser
from yoyak.config.prompts import AUGMENTATIONS, FORMATS
from yoyak.config.study import CONDITIONS, Run
from yoyak.config.variants import DEFAULT
from yoyak.errors import UserError, run_script
from yoyak.run.workspace import atomic_write_text


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add_study_arguments(parser)
    parser.add_argument("--experiment", required=True, help="a model of the study")
    parser.add_argument("--variant", default=DEFAULT, help="of the study's, if it names any")
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("--augmentation", default="none", choices=AUGMENTATIONS)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--results", type=Path, help="default: results/STUDY")
    parser.add_argument("--output", type=Path, help="default: README.md beside final_model/")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_arguments()
    study = open_study(args)
    condition = CONDITIONS[args.augmentation]
    run = Run(args.experiment, args.format, condition, args.seed, args.variant)
    if not args.settings and run not in study.trainings():
        raise UserError(
            f"study '{study.source}' has no training {run.folder}; "
            "see its models, variants, formats, augmentations and seeds"
        )
    results = args.results or study.results
    output = args.output or results / run.folder / "README.md"
    from yoyak.reporting.model_card import model_card

    atomic_write_text(output, model_card(study, results, run))
    print(f"wrote {output}")


if __name__ == "__main__":
    run_script(main)
