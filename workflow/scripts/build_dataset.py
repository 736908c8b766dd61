"""Tokenise prepared dialogues for one model, prompt format and augmentation.

Examples:
  python workflow/scripts/build_dataset.py --study embedded --experiment tiny_llama --format chat \\
      --augmentation templates --data results/embedded/data \\
      --output-dir results/embedded/examples/tiny_llama/chat/templates

Writes train.safetensors, selection.safetensors, statistics.json and run.json. Only train is
augmented: the selection slice is measured with the prompt that generation uses.
"""

import argparse
from pathlib import Path

from yoyak.config.arguments import add_study_arguments, open_study, script_parser
from yoyak.config.prompts import AUGMENTATIONS, FORMATS
from yoyak.errors import run_script
from yoyak.training.examples import build_dataset


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add_study_arguments(parser)
    parser.add_argument("--experiment", required=True, help="one of the study's models")
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("--augmentation", default="none", choices=AUGMENTATIONS)
    parser.add_argument("--data", type=Path, help="default: results/{study}/data")
    parser.add_argument(
        "--output-dir",
        type=Path,
        help="default: results/{study}/examples/{model}/{format}/{augmentation}",
    )
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_arguments()
    study = open_study(args)
    config = study.model(args.experiment)
    data = args.data or study.results / "data"
    place = f"{args.experiment}/{args.format}/{args.augmentation}"
    output = args.output_dir or study.results / "examples" / place
    statistics = build_dataset(study, config, args.format, args.augmentation, data, output)
    for split in ("train", "selection"):
        counted = statistics[split]
        print(
            f"{split}: {counted['examples']:,} examples, {counted['tokens']:,} tokens, "
            f"{counted['supervised_tokens']:,} supervised, {counted['prompts_shortened']:,} with "
            f"a shortened dialogue, {counted['answers_over_decoder_max_len']:,} with a summary "
            "above decoder_max_len"
        )
    print(f"wrote {output}")


if __name__ == "__main__":
    run_script(main)
