"""Identify a training, for its record and for the folder of its checkpoints."""

from pathlib import Path

from yoyak.config.frozen import training_science
from yoyak.config.model_config import ModelConfig
from yoyak.config.section import canonical
from yoyak.config.study import CONDITIONS, Run
from yoyak.data.llm_dataset import LLMSummarizationDataset
from yoyak.models.checkpoints import resolve_checkpoint
from yoyak.run.provenance import package_versions
from yoyak.run.workspace import hash_file, hash_text


def run_of(config: ModelConfig, data: LLMSummarizationDataset, seed: int) -> dict:
    """The run of a training started by a program, from its model's name and its examples."""
    name = config.experiment.name or "unnamed"
    form, condition = data.statistics.get("format", ""), CONDITIONS[data.augmentation]
    return Run(name, form, condition, seed).record()


def weight_files(config: ModelConfig) -> list[Path]:
    files = resolve_checkpoint(config.model).weight_files()
    return [file for file in files if file.is_file()]


def training_key(config: ModelConfig, seed: int, examples: dict[str, str]) -> str:
    """Key of a training's checkpoints: equal only for the same training.

    examples: digest of each dataset.
    """
    parts = {
        "science": training_science(config) | {"seed": seed},
        "data": list(examples.values()),
        "checkpoint": [hash_file(file) for file in weight_files(config)],
        "packages": package_versions(),
    }
    return hash_text(canonical(parts))[:16]
