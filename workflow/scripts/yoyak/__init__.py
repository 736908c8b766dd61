"""Yoyak's library: a house of rooms; an import goes down.

Top: reporting; training, generation, scoring. Middle: data, kernels → models. Ground: run → config,
and errors. One step sideways: LLMTrainer asks generation and scoring for ROUGE, when it is asked
for it. The library knows nothing of Snakemake.

The names below are handed out from their modules when they are asked for, so that importing the
package, or a module of it, loads no torch.
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
