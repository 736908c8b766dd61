"""The plan of a training, made for the real lengths of its examples and the loaded model."""

import logging
from dataclasses import replace
from typing import Any

import torch

from yoyak.config.model_config import ModelConfig
from yoyak.config.training_settings import TrainingSettings
from yoyak.data.llm_dataset import LLMSummarizationDataset
from yoyak.run.estimate import optimiser_steps, training_warnings
from yoyak.run.memory import ModelShape
from yoyak.run.plan import LAYERS, Engine, Plan
from yoyak.run.planning import plan_training
from yoyak.training.order import largest_batch
from yoyak.training.parallel import Ranks

log = logging.getLogger(__name__)
ALONE = Ranks()


def make_plan(
    config: ModelConfig,
    shape: ModelShape,
    device: str,
    train_set: LLMSummarizationDataset,
    ranks: Ranks = ALONE,
    *,
    engine: Engine = Engine(),  # noqa: B008 (frozen)
    free_bytes: int | None = None,
    devices: int | None = None,
    seed: int = 42,
) -> Plan:
    """The execution plan for training on `train_set`, from the model's shape and free memory.

    With several devices the one with the least free memory decides: all run the same plan.

    Args:
        free_bytes: memory for the training, its weights included; None: what is free now.
        devices: how many share it; None: as many as `ranks`.
        seed: of the examples' order, which decides how large the largest batch is.
    """
    cuda = device.startswith("cuda")
    if free_bytes is None:
        free_bytes = ranks.smallest(torch.cuda.mem_get_info(device)[0] if cuda else 0)
    training = config.training
    batch = training.batch_size * training.gradient_accumulation_steps
    lengths = train_set.lengths
    return plan_training(
        config,
        shape,
        device=device,
        devices=devices or ranks.count,
        free_bytes=free_bytes,
        supports_bf16=not cuda or torch.cuda.is_bf16_supported(including_emulation=False),
        batch_tokens=int(lengths.double().mean() * batch),
        largest_batch=largest_batch(lengths, batch, training.epochs, seed),
        steps=optimiser_steps(training, len(train_set)),
        engine=engine,
        **facts_of(train_set),
    )


def facts_of(train_set: LLMSummarizationDataset) -> dict[str, Any]:
    """What the memory of any plan depends on, as the planner takes it."""
    lengths = train_set.lengths
    share = train_set.supervised_tokens / int(lengths.sum())
    return {"longest": int(lengths.max()), "supervised_share": share}


def steps_between_evaluations(
    training: TrainingSettings, train_set: LLMSummarizationDataset
) -> int | None:
    """None: evaluate at the end of each epoch, the usual case.

    With `max_steps` all trainings of a study take the same number of optimiser steps, so they are
    also evaluated equally often: after each pass over the dialogues, however many examples an
    augmentation makes of each.
    """
    if training.max_steps is None:
        return None
    batch = training.batch_size * training.gradient_accumulation_steps
    dialogues = len(torch.unique(train_set.dialogue_index))
    return min(-(-dialogues // batch), training.max_steps)


def warn(
    training: TrainingSettings, model, train_set: LLMSummarizationDataset, speak: bool
) -> list[str]:
    """What lets a training teach little; the log has it, too, where this process is to `speak`."""
    steps, longest = optimiser_steps(training, len(train_set)), int(train_set.lengths.max())
    positions = ModelShape.from_config(model.config).positions
    found = training_warnings(training, steps, longest, positions)
    for text in found if speak else ():
        log.warning("%s", text)
    return found


def as_loaded(config: ModelConfig, model) -> ModelConfig:
    """The config, updated with what was decided when the model was loaded (`loaded_as`)."""
    loaded = getattr(model, "loaded_as", None)
    if loaded is None:
        return config
    sections = {"lora": loaded.lora}
    if loaded.lora.use_qlora:
        held = {"base_weights": loaded.base_weights}
        sections["execution"] = config.execution.model_copy(update=held)
    return config.model_copy(update=sections)


def on_engine(plan: Plan, engine: Engine) -> Plan:
    """A plan that a lack of memory forced, before any engine was checked, moved to this engine."""
    layers = max(plan.layers, engine.layers, key=list(LAYERS).index)
    return replace(
        plan,
        engine=engine.path,
        head=engine.head,
        one_row=engine.one_row,
        eager=engine.eager,
        layers=layers,
        graphs=plan.graphs and engine.path == "packed" and layers == "fused",
    )


def replan(plan: Plan, config: ModelConfig, shape, train_set, engine: Engine, seed: int) -> Plan:
    """The plan of a loaded model for another engine, with the same base weights and memory."""
    execution = config.execution.model_copy(update={"base_weights": plan.base_weights})
    config = config.model_copy(update={"execution": execution})
    room = plan.available_bytes
    fresh = make_plan(
        config, shape, plan.device, train_set,
        engine=engine, free_bytes=room, devices=plan.devices, seed=seed,
    )  # fmt: skip
    return replace(fresh, threads=plan.threads)


def usable_bytes(model) -> int:
    """Memory that a loaded model may use: what is free now plus what its weights already take.

    Memory that torch cached while loading counts as free.
    """
    device = model.device
    if device.type != "cuda":
        return 0
    weights = sum(part.numel() * part.element_size() for part in model.parameters())
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept + weights
