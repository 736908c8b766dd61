"""Check that runs are comparable: trainings of a variant must have the same settings."""

from collections.abc import Collection, Iterator
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

    Trainings of one variant are alike, and all summaries of a model but for the keys of decoding
    that a variant names.

    That includes the commit of a Hub checkpoint: without a pinned revision it can move between two
    runs.
    """
    for model in study.models:
        runs = [run for run in study.runs() if run.model == model]
        summaries = [results / run.folder / RECORDS["generate"] for run in runs if not run.trained]
        for variant in study.variants:
            alike = [run for run in runs if run.trained and run.variant == variant]
            _compare([results / run.folder / RECORDS["train"] for run in alike], "train")
            decoded = [results / run.folder / RECORDS["generate"] for run in alike]
            own = study.settings.variants.get(variant, {}).get("generation", {})
            _compare(decoded, "generate")
            _compare([*summaries, *decoded], "generate", {f"generation.{key}" for key in own})


def _compare(files: list[Path], step: str, but: Collection[str] = ()) -> None:
    first: dict[str, tuple[object, Path]] = {}
    for file in files:
        for key, here in _decisive(read_json(file, CURE), step):
            there, place = first.setdefault(key, (here, file))
            if there != here and key not in but:
                raise UserError(
                    f"{key} is {there} in {display(place)} and {here} in {display(file)}: one "
                    f"comparison does not mix them; remove the result that is out of date, and "
                    f"Snakemake runs its step '{step}' again"
                )


def _decisive(record: dict, step: str) -> Iterator[tuple[str, object]]:
    """All settings that decide the result, and the checkpoint's commit."""
    yield "checkpoint_commit", record.get("checkpoint_commit")
    settings = record.get("settings")
    for section, content in settings.items() if isinstance(settings, dict) else ():
        if section == "prompts" and section in DEPENDS[step][1]:
            yield from _texts(content or {})
            continue
        for key, value in content.items() if isinstance(content, dict) else ():
            name = f"{section}.{key}"
            if {section, name} & set(DEPENDS[step][1]) and name not in NO_SCIENCE:
                yield name, value


def _texts(prompts: dict) -> Iterator[tuple[str, object]]:
    """The texts of a prompt that all runs of a format share, whatever trained them."""
    for prompt_format, texts in prompts.items():
        if texts is not None:
            yield f"prompts.{prompt_format}.system", texts.get("system")
            yield f"prompts.{prompt_format}.text", texts["text"].replace("{examples}", "")
            yield f"prompts.{prompt_format}.requests", texts["requests"][0]
