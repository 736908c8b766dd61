"""The arguments that several scripts share."""

import argparse

from yoyak.config.frozen import thaw
from yoyak.config.study import Study, load_study


def script_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose --help shows the script's docstring, examples and all."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_study_arguments(
    parser: argparse.ArgumentParser, default: str | None = "embedded", otherwise: str = "embedded"
) -> None:
    """--study, --debug and --settings; `otherwise` says in --help what goes without --study."""
    parser.add_argument(
        "--study", default=default, help=f"a file of config/studies/; default: {otherwise}"
    )
    parser.add_argument("--debug", action="store_true", help="the study's small debug run")
    parser.add_argument(
        "--settings",
        metavar="JSON",
        help="the study as it was when Snakemake planned, in place of --study",
    )


def open_study(args: argparse.Namespace) -> Study:
    """The study that a command names; UserError for a mistake in its files."""
    return thaw(args.settings) if args.settings else load_study(args.study, debug=args.debug)
