"""Trainings by hand: their output folder, and protection against overwriting a finished one."""

import json
from pathlib import Path

from yoyak.config.frozen import chosen
from yoyak.config.loading import read_config
from yoyak.config.model_config import ModelConfig
from yoyak.config.section import canonical
from yoyak.config.study import Run
from yoyak.errors import UserError
from yoyak.run.workspace import hash_text

MANUAL = Path("results/manual")
DEFAULT_SEED = 42
DIFFERENCES_TOLD = 3


def result_folder(file: ModelConfig, config: ModelConfig, run: Run, debug: bool) -> Path:
    """results/manual/{experiment.name}, with the command's flags appended to the name.

    Args:
        file: the model file's own settings; config: the same with the flags laid over them.
    """
    lora, base = config.lora, file.lora
    changes = {
        "templates": run.augmentation == "templates",
        run.format: run.format != file.dataset.format_type,
        "lora": lora.use_lora and not base.use_lora,
        "no_lora": base.use_lora and not lora.use_lora,
        "qlora": lora.use_qlora and not base.use_qlora,
        "no_qlora": lora.use_lora and base.use_qlora and not lora.use_qlora,
        f"seed{run.seed}": run.seed != DEFAULT_SEED,
        "debug": debug,
    }
    name = file.experiment.name or run.model
    return MANUAL / "_".join([name, *(change for change, made in changes.items() if made)])


def refuse_to_replace(output: Path, here: dict, cure: str) -> None:
    """Raise UserError if `output` holds a finished training with other settings or data.

    Args:
        here: `deciding_settings` of the training that would write to `output`.
        cure: what to do about it.
    """
    if not (output / "final_model").exists():
        return
    file = output / "run.json"
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        data = {**record.get("data", {}), **record.get("datasets", {})}
        there = deciding_settings(read_config(record["settings"], file), record["run"], data)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError):
        raise UserError(
            f"{output}: holds a final_model whose run.json does not say how it was trained; {cure}"
        ) from None
    names = [name for name in here if here[name] != there.get(name)]
    if names:
        told = "; ".join(
            f"{name} is {there.get(name, 'not known')} there and {here[name]} here"
            for name in names[:DIFFERENCES_TOLD]
        )
        more = f"; {len(names) - DIFFERENCES_TOLD} more" if len(names) > DIFFERENCES_TOLD else ""
        raise UserError(
            f"{output}: holds a finished training of another kind ({told}{more}); {cure}"
        )


def deciding_settings(config: ModelConfig, run: dict, data: dict) -> dict:
    """Everything that decides what is learned, by the names that users know.

    Args:
        run: of run.json; what a model file is called decides nothing.
        data: SHA-256 of raw files or of examples, by their names in run.json.
    """
    sections = chosen(config, ("model", "lora", "tokenizer", "dataset", "prompts", "training"))
    texts = sections.pop("prompts")
    keys = {
        f"{name}.{key}": value for name, part in sections.items() for key, value in part.items()
    }
    keys["prompts"] = f"SHA-256 {hash_text(canonical(texts))[:12]}…"
    keys |= {key: value for key, value in run.items() if key != "model"}
    return keys | {name: f"SHA-256 {digest[:12]}…" for name, digest in data.items()}
