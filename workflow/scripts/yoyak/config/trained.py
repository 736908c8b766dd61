"""Read the run.json beside an adapter: how it was trained."""

import json
from pathlib import Path

from yoyak.config.frozen import BASE_WEIGHTS, CHECKPOINT
from yoyak.config.loading import read_config
from yoyak.config.model_config import ModelConfig
from yoyak.config.prompts import FORMATS, Prompts
from yoyak.errors import UserError

TEXT_SETTINGS = ("tokenizer", "dataset", "prompts", "generation")  # that decide a summary's text


def training_record(adapter: Path | None) -> dict:
    """run.json of the training that an adapter came from; empty if there is none."""
    if adapter is None:
        return {}
    file = _record_of(adapter)
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        run, settings = record["run"], record["settings"]
        names = (run["model"], run["format"], run["condition"])
        parts = (settings["model"], settings["lora"])
        if not all(isinstance(name, str) for name in names) or names[1] not in FORMATS:
            raise ValueError("not of a training")
        if not all(isinstance(part, dict) for part in parts) or type(run["seed"]) is not int:
            raise ValueError("not the record of a training")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(
            f"{file}: is not the record of a training; restore it or train again"
        ) from None
    return record


def check_base(adapter: Path | None, record: dict, config: ModelConfig) -> None:
    """Raise UserError if an adapter was trained on other base weights than the config's."""
    for key in (*CHECKPOINT, *BASE_WEIGHTS):
        section, name = key.split(".")
        trained = record.get("settings", {}).get(section, {})
        now = getattr(getattr(config, section), name)
        if name in trained and trained[name] != now:
            raise UserError(
                f"{adapter}: was trained with {key} {trained[name]} (its run.json), and the study "
                f"has {now}; make them equal in the model file, or summarise with summarize.py, "
                "which takes the adapter's own"
            )


def as_trained(config: ModelConfig, adapter: Path | None, record: dict) -> ModelConfig:
    """The config with the prompts that an adapter was trained with, if its record has them."""
    content = record.get("settings", {}).get("prompts")
    if adapter is None or content is None:
        return config
    prompts = Prompts.checked(content, f"{_record_of(adapter)}: prompts")
    return config.model_copy(update={"prompts": prompts})


def merged_with(folder: str) -> tuple[dict, str | None]:
    """What a folder of merge_adapter.py says of itself: settings of its texts, and its format.

    Empty for any other checkpoint.
    """
    try:
        record = json.loads((Path(folder) / "run.json").read_text(encoding="utf-8"))
        settings, prompt_format = record["settings"], record["format"]
        if record["step"] != "merge_adapter":
            return {}, None
        return {key: settings[key] for key in TEXT_SETTINGS}, prompt_format
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}, None


def trained_with(adapter: Path) -> ModelConfig:
    """Settings with which an adapter was trained."""
    record = training_record(adapter)
    if not record:
        raise UserError(
            f"{adapter}: no run.json of its training beside it; name the model it was trained "
            "from with --experiment or --checkpoint"
        )
    return recorded_config(record["settings"], _record_of(adapter))


def recorded_config(settings: dict, file: Path) -> ModelConfig:
    """The settings that a training's record holds; it may be older than today's keys.

    Whom a training reported to decides nothing, and its keys had other names once.
    """
    return read_config({key: part for key, part in settings.items() if key != "tracking"}, file)


def _record_of(adapter: Path) -> Path:
    return adapter.absolute().parent / "run.json"
