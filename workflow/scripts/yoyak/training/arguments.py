"""TrainingArguments from a config's `training` section and an execution plan."""

import contextlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from transformers import TrainingArguments

from yoyak.config.training_settings import TrainingSettings
from yoyak.models.quiet import silence_libraries
from yoyak.run.plan import Plan


@dataclass
class Arguments(TrainingArguments):
    """The Trainer's own arguments, and one that it does not know."""

    loraplus_lr_ratio: float | None = None


def training_arguments(
    training: TrainingSettings,
    plan: Plan,
    seed: int,
    work: Path,
    evaluate_every: int | None = None,
) -> Arguments:
    """The Trainer's own arguments; one of its batches is one optimiser step.

    Args:
        work: folder for checkpoints.
        evaluate_every: optimiser steps between evaluations; None: at the end of each epoch.
    """
    cuda = plan.device.startswith("cuda")
    strategy = "steps" if evaluate_every else "epoch"
    every = {"eval_steps": evaluate_every, "save_steps": evaluate_every} if evaluate_every else {}
    arguments = Arguments(
        output_dir=str(work),
        per_device_train_batch_size=training.batch_size * training.gradient_accumulation_steps,
        gradient_accumulation_steps=1,
        num_train_epochs=training.epochs,
        max_steps=training.max_steps or -1,
        learning_rate=training.learning_rate,
        loraplus_lr_ratio=training.loraplus_lr_ratio,
        neftune_noise_alpha=training.neftune_noise_alpha,
        lr_scheduler_type=training.lr_scheduler_type,
        warmup_steps=training.warmup_ratio,
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        optim=plan.optim,
        eval_strategy=strategy,
        save_strategy=strategy,
        **every,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        # Fused and compiled layers recompute by themselves.
        **_recompute(plan.gradient_checkpointing and plan.layers == "own"),
        bf16=cuda and plan.compute_dtype == "bfloat16",
        fp16=cuda and plan.compute_dtype == "float16",
        use_cpu=not cuda,
        seed=seed,
        data_seed=seed,
        remove_unused_columns=False,
        dataloader_pin_memory=cuda,
        report_to="none",  # see yoyak.training.tracking
    )
    if arguments.n_gpu > 1:  # a library's process sees GPUs that are not the model's
        _keep_to(arguments, plan.device)
    return arguments


def _keep_to(arguments: TrainingArguments, device: str) -> None:
    """Keep the Trainer on one GPU: it would use the first one and spread the model over all."""
    only = torch.device(device)
    torch.cuda.set_device(only)
    arguments.distributed_state.device = only  # what accelerate goes by
    arguments.__dict__["_setup_devices"], arguments._n_gpu = only, 1  # what the Trainer goes by


def _recompute(enabled: bool) -> dict:
    """Activation checkpointing, under the argument's name in this transformers version."""
    new = "activation_checkpointing" in TrainingArguments.__dataclass_fields__
    name = "activation_checkpointing" if new else "gradient_checkpointing"
    return {name: enabled, f"{name}_kwargs": {"use_reentrant": False}} if enabled else {}


@contextlib.contextmanager
def quiet_libraries():
    """Run the block without the libraries' progress bars and notes."""
    before = transformers.logging.get_verbosity()
    try:
        with warnings.catch_warnings():
            silence_libraries()
            yield
    finally:
        transformers.logging.set_verbosity(before)
