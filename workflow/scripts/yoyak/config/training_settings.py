"""What a model file may say of its training."""

from typing import Annotated, Literal

from pydantic import Field

from yoyak.config.fields import Number, Whole
from yoyak.config.section import Section


class TrainingSettings(Section):
    """What is learned; but for the last two, which say how."""

    epochs: Number = Field(3, gt=0, le=1000, description="passes over the training examples")
    max_steps: Whole | None = Field(
        None,
        ge=1,
        le=10_000_000,
        description="optimiser steps; set, it replaces `epochs`, so that trainings can be compared "
        "at equal compute",
    )
    batch_size: Whole = Field(
        8,
        ge=1,
        le=100_000,
        description="examples; an optimiser step takes `batch_size` × "
        "`gradient_accumulation_steps` of them",
    )
    gradient_accumulation_steps: Whole = Field(
        8, ge=1, le=100_000, description="batches an optimiser step"
    )
    learning_rate: Literal["auto"] | Annotated[Number, Field(gt=0, le=1)] = Field(
        2.0e-5,
        description="peak learning rate of AdamW; `auto` is one for LoRA by the model's family and "
        "hidden size",
    )
    loraplus_lr_ratio: Number | None = Field(
        None,
        gt=0,
        le=10_000,
        description="LoRA+: the adapters' B learn at so many times `learning_rate`, A at once it "
        "(Hayou et al. 2024 take 16, with a smaller rate); `null`: both alike",
    )
    neftune_noise_alpha: Number | None = Field(
        None,
        gt=0,
        le=10_000,
        description="NEFTune: noise of at most so much / √(length × hidden size) on an example's "
        "embeddings in training (Jain et al. 2023 take 5); `null`: none",
    )
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup"] = Field(
        "cosine", description="`cosine`, `linear`, `constant`, `constant_with_warmup`"
    )
    warmup_ratio: Number = Field(
        0.1, ge=0, lt=1, description="share of the steps with a rising learning rate, 0–1"
    )
    weight_decay: Number = Field(0.1, ge=0, le=10, description="AdamW's weight decay")
    max_grad_norm: Number = Field(
        1.2, gt=0, le=1_000_000, description="gradients are scaled down to this norm"
    )
    early_stopping_patience: Whole | None = Field(
        None,
        ge=1,
        le=100_000,
        description="evaluations in a row without a lower selection loss after which the training "
        "stops; `null` trains to the end",
    )
    gradient_checkpointing: Literal["auto"] | bool = Field(
        "auto", description="compute activations twice to save memory: `true`, `false`"
    )
    optim: Literal[
        "auto", "adamw_torch", "adamw_torch_fused", "paged_adamw_32bit", "paged_adamw_8bit"
    ] = Field(
        "auto",
        description="`auto` (PyTorch's AdamW, fused on a GPU), `adamw_torch`, `adamw_torch_fused`, "
        "or on a GPU `paged_adamw_32bit`, `paged_adamw_8bit`",
    )
