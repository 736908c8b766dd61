"""Clean and check a study's raw splits and keep them disjoint, once for all later steps."""

import logging
import time
from collections import Counter
from pathlib import Path

from yoyak.config.study import Study
from yoyak.config.study_settings import Data
from yoyak.data import data_card
from yoyak.data.dialogues import Dialogue, read_dialogues, to_csv
from yoyak.data.near_duplicates import near_duplicates
from yoyak.data.reading import local_files
from yoyak.data.splits import (
    data_name,
    drop_leaks,
    few_rows,
    hold_out,
    raw_data,
    raw_record,
    repeated,
)
from yoyak.errors import UserError
from yoyak.run.provenance import write_run_record
from yoyak.run.workspace import atomic_directory, atomic_write_json

log = logging.getLogger(__name__)


def prepare_data(study: Study, output: Path) -> dict:
    """Prepare a study's data into the folder `output`, all or nothing; returns the data card.

    Datasets on the Hub are fetched here.

    Raises UserError for data that are missing or unreadable, a missing column, or bad rows.
    """
    started = time.perf_counter()
    settings = study.settings.data
    names = [name for name in ("train", "dev", "test") if getattr(settings, name)]
    sources = {name: raw_data(study.source, settings, name) for name in names}
    for name, source in sources.items():
        named = getattr(settings, name)
        if isinstance(source, Path) and source.is_absolute() and not Path(named).is_absolute():
            log.warning(
                "data.%s: %s is not in the working directory, the project's is read: %s",
                name,
                named,
                source,
            )
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    raw = {
        name: read_dialogues(
            sources[name],
            settings.columns.model_dump(),
            labelled=name != "test",
            counts=counts[name],
            numbered=settings.speakers == "numbered",
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
                "path": data_name(settings, name),
                **raw_record(sources[name]),
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
        # Of numbered speakers: by dialogue their own names, which a submission has again.
        "speakers": {row.fname: row.names for row in splits.get("test", []) if row.names},
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
            inputs=[file for source in sources.values() for file in local_files(source)],
            files=card["files"],
            seed=settings.selection_seed,
            wall_seconds=round(time.perf_counter() - started, 3),
        )
    return card


def arrange(
    raw: dict[str, list[Dialogue]], settings: Data, limits: dict[str, int] | None
) -> tuple[dict[str, list[Dialogue]], dict]:
    """The final splits, and what the leak check found."""
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
