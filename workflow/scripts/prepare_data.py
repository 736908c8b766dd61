"""Read a study's raw splits, clean and check them, keep leaks out of train, write data/.

Examples:
  python workflow/scripts/prepare_data.py --study embedded --output-dir results/embedded/data
  python workflow/scripts/prepare_data.py --study embedded --debug \\
      --output-dir results/embedded-debug/data

Writes train.csv, selection.csv, dev.csv, test.csv (where the study has one), data_card.json and
run.json. With --debug every split is a seeded sample of a few rows, taken after all the checks.
"""

import argparse
import time
from collections import Counter
from pathlib import Path

from yoyak.config.arguments import add_study_arguments, open_study, script_parser
from yoyak.config.study import Study
from yoyak.config.study_settings import Data
from yoyak.data import data_card
from yoyak.data.dialogues import Dialogue, read_dialogues, to_csv
from yoyak.data.near_duplicates import near_duplicates
from yoyak.data.splits import drop_leaks, few_rows, hold_out, raw_file, repeated
from yoyak.errors import UserError, run_script
from yoyak.run.provenance import write_run_record
from yoyak.run.workspace import atomic_directory, atomic_write_json, hash_file


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


def prepare_data(study: Study, output: Path) -> dict:
    """Prepare a study's data into the folder `output`, all or nothing; returns the data card.

    Raises UserError for a missing or unreadable file, a missing column, or bad rows.
    """
    started = time.perf_counter()
    settings = study.settings.data
    names = [name for name in ("train", "dev", "test") if getattr(settings, name)]
    paths = {name: raw_file(study.source, settings, name) for name in names}
    counts = {name: Counter() for name in names}
    raw = {
        name: read_dialogues(
            paths[name], settings.columns.model_dump(), labelled=name != "test", counts=counts[name]
        )
        for name in names
    }
    splits, leaks = arrange(raw, settings, study.row_limits)
    card = {
        "study": study.source,
        "language": study.language,
        "debug": study.debug,
        "files": {
            name: {
                "path": getattr(settings, name),
                "sha256": _hash(paths[name]),
                "rows": len(raw[name]),
            }
            for name in names
        },
        "splits": {name: data_card.describe_split(rows) for name, rows in splits.items()},
        "cleaning": data_card.describe_cleaning(counts),
        "leaks": leaks,
        "selection": {
            key: getattr(settings, key)
            for key in ("selection", "selection_fraction", "selection_seed")
        },
        "row_limits": study.row_limits,
    }
    with atomic_directory(output) as folder:
        for name, rows in splits.items():
            text = to_csv(rows, labelled=name != "test")
            (folder / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
        atomic_write_json(folder / "data_card.json", card)
        write_run_record(
            folder / "run.json",
            step="prepare_data",
            settings={"data": settings.model_dump(), "row_limits": study.row_limits},
            inputs=list(paths.values()),
            seed=settings.selection_seed,
            wall_seconds=round(time.perf_counter() - started, 3),
        )
    return card


def arrange(
    raw: dict[str, list[Dialogue]], settings: Data, limits: dict[str, int] | None
) -> tuple[dict[str, list[Dialogue]], dict]:
    """The splits as they are used, and what the leak check found."""
    others = {name: rows for name, rows in raw.items() if name != "train"}
    train, dropped = drop_leaks(raw["train"], others)
    if not train:
        raise UserError(
            f"data.train: all of its {len(raw['train'])} dialogues stand in dev or test too, so "
            "nothing is left to learn from; name another file"
        )
    leaks = {
        "dropped_from_train": dropped,
        "near_duplicates": data_card.describe_near_duplicates(near_duplicates(train, others)),
        "repeated_in": {name: repeated(rows) for name, rows in raw.items()},
    }
    seed = settings.selection_seed
    if settings.selection == "held_out":
        train, selection = hold_out(train, settings.selection_fraction, seed)
    else:
        selection = raw["dev"]
    splits = {"train": train, "selection": selection, **others}
    if limits:
        at_most = {**limits, "selection": limits["dev"]}
        splits = {name: few_rows(rows, at_most[name], seed) for name, rows in splits.items()}
    return splits, leaks


def _hash(path: Path) -> str | dict[str, str]:
    if path.is_file():
        return hash_file(path)
    return {file.name: hash_file(file) for file in sorted(path.iterdir()) if file.is_file()}


if __name__ == "__main__":
    run_script(main)
