"""Check that runs are comparable: trainings of a variant must have the same settings."""

from collections.abc import Iterator
from pathlib import Path

from yoyak.config.frozen import STEPS as DEPENDS
from yoyak.config.model_config import NO_SCIENCE
from yoyak.config.study import Study
from yoyak.errors import UserError, display
from yoyak.run.workspace import read_json

CURE = "run this step first"
RECORDS = {"train": "run.json", "generate": "predictions/run.json"}


def refuse_mixtures(study: Study, results: Path) -> None:
    """Raise UserError naming two runs of one model whose settings differ, and the difference.

    Trainings of one variant are alike, and all summaries of a model.

    That includes the commit of a Hub checkpoint: without a pinned revision it can move between two
    runs.
    """
    for model in study.models:
        runs = [run for run in study.runs() if run.model == model]
        _compare([results / run.folder / RECORDS["generate"] for run in runs], "generate")
        for variant in study.variants:
            alike = [run for run in runs if run.trained and run.variant == variant]
            _compare([results / run.folder / RECORDS["train"] for run in alike], "train")


def _compare(files: list[Path], step: str) -> None:
    first, *others = [(file, dict(_decisive(read_json(file, CURE), step))) for file in files]
    for file, settings in others:
        for key in {**first[1], **settings}:
            there, here = first[1].get(key), settings.get(key)
            if there != here:
                raise UserError(
                    f"{key} is {there} in {display(first[0])} and {here} in {display(file)}: one "
                    f"comparison does not mix them; remove the result that is out of date, and "
                    f"Snakemake runs its step '{step}' again"
                )


def _decisive(record: dict, step: str) -> Iterator[tuple[str, object]]:
    """All settings that decide the result, and the checkpoint's commit."""
    yield "checkpoint_commit", record.get("checkpoint_commit")
    settings = record.get("settings")
    for section, content in settings.items() if isinstance(settings, dict) else ():
        for key, value in content.items() if isinstance(content, dict) else ():
            name = f"{section}.{key}"
            if {section, name} & set(DEPENDS[step][1]) and name not in NO_SCIENCE:
                yield name, value
