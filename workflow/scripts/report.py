"""Write a study's report: one HTML file with answer, tables, plots, samples and provenance.

answer.rst beside it has only question and answer, for the first page of `snakemake --report`.

Example:
  python workflow/scripts/report.py --study embedded \\
      --results results/embedded --output results/embedded/report.html
"""

import argparse
from pathlib import Path

from yoyak.config.arguments import add_study_arguments, open_study, script_parser
from yoyak.errors import run_script
from yoyak.run.workspace import atomic_write_text


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add_study_arguments(parser)
    parser.add_argument("--results", type=Path, help="default: results/STUDY")
    parser.add_argument("--output", type=Path, help="default: report.html below --results")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_arguments()
    study = open_study(args)
    results = args.results or study.results
    from yoyak.reporting.html import render_report
    from yoyak.reporting.opening import render_opening

    output = args.output or results / "report.html"
    atomic_write_text(output, render_report(study, results))
    atomic_write_text(output.with_name("answer.rst"), render_opening(study, results))
    print(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    run_script(main)
