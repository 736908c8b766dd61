"""Draw a study's plots (SVG and PNG) and their captions from its tables, logs and examples.

Example:
  python workflow/scripts/plot.py --study embedded \\
      --results results/embedded --output-dir results/embedded/plots
"""

import argparse
from pathlib import Path

from yoyak.config.arguments import add_study_arguments, open_study, script_parser
from yoyak.errors import run_script
from yoyak.run.workspace import atomic_directory


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add_study_arguments(parser)
    parser.add_argument("--results", type=Path, help="default: results/STUDY")
    parser.add_argument("--output-dir", type=Path, help="default: plots/ below --results")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_arguments()
    study = open_study(args)
    results = args.results or study.results
    from yoyak.reporting.plots import write_plots  # matplotlib loads only once the study is sound

    with atomic_directory(args.output_dir or results / "plots") as folder:
        write_plots(study, results, folder)


if __name__ == "__main__":
    run_script(main)
