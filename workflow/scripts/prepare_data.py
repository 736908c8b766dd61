"""Read a study's raw splits, clean and check them, keep leaks out of train, write data/.

Examples:
  python workflow/scripts/prepare_data.py --study embedded --output-dir results/embedded/data
  python workflow/scripts/prepare_data.py --study embedded --debug \\
      --output-dir results/embedded-debug/data

Writes train.csv, selection.csv, dev.csv, test.csv (where the study has one), data_card.json and
run.json. With --debug every split is a seeded sample of a few rows, taken after all the checks.
"""

import argparse
from pathlib import Path

from yoyak.config.arguments import add_study_arguments, open_study, script_parser
from yoyak.data.prepare import prepare_data
from yoyak.errors import run_script


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add_study_arguments(parser)
    parser.add_argument("--output-dir", type=Path, help="default: results/{study}/data")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_arguments()
    study = open_study(args)
    output = args.output_dir or study.results / "data"
    card = prepare_data(study, output)
    for split, described in card["splits"].items():
        references = max(map(int, described["references"]), default=0)
        print(f"{split}: {described['rows']:,} rows, {references} reference(s) each at most")
    print(f"dropped from train as leaks: {sum(card['leaks']['dropped_from_train'].values())}")
    print(f"wrote {output}")


if __name__ == "__main__":
    run_script(main)
