"""Yoyak's library, in layers: imports only go down (CONTRIBUTING.md has the picture).

Top: reporting; training, generation, scoring. Middle: data, kernels → models. Ground: run → config,
and errors. One step sideways: LLMTrainer asks generation and scoring for ROUGE, when it is asked
for it. The library knows nothing of Snakemake.

The names below are imported lazily, so that importing the package or one of its modules does not
load torch.
"""

from importlib import import_module

_MODULES = {
    "load_config": "yoyak.config",
    "LoRALoader": "yoyak.models.lora_loader",
    "load_lora_model_and_tokenizer": "yoyak.models.lora_loader",
    "LLMSummarizationDataset": "yoyak.data.llm_dataset",
    "InstructionAugmentedDataset": "yoyak.data.llm_dataset",
    "create_llm_dataset": "yoyak.data.llm_dataset",
    "LLMTrainer": "yoyak.training.llm_trainer",
    "create_llm_trainer": "yoyak.training.llm_trainer",
}
__all__ = sorted(_MODULES)


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module 'yoyak' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
