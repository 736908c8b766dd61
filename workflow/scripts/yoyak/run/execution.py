"""The execution plan: how a task runs on this machine. It never changes what is learned."""

import os
from dataclasses import asdict, dataclass

from yoyak.settings.config import UserError

GIB = 1024**3
CPU_TOKEN_BUDGET = 2048
GPU_RESERVE = 1.5 * GIB  # CUDA context, kernels' workspaces, fragmentation


@dataclass(frozen=True)
class ModelShape:
    """What memory and time depend on. All sizes are counts, not bytes."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool

    @classmethod
    def from_config(cls, config) -> "ModelShape":
        """From a transformers PretrainedConfig of a decoder-only model."""
        heads = config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            intermediate=config.intermediate_size,
            heads=heads,
            kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            vocabulary=config.vocab_size,
            tied=bool(config.tie_word_embeddings),
        )

    @property
    def linear_parameters(self) -> int:
        """Weights of all decoder projections: those that NF4 holds in 4 bits."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def embedding_parameters(self) -> int:
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    def lora_parameters(self, r: int) -> int:
        """Adapters of rank r on all seven projections."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        ends = 2 * (self.hidden + q) + 2 * (self.hidden + kv)
        return self.layers * r * (ends + 3 * (self.hidden + self.intermediate))


@dataclass(frozen=True)
class Plan:
    """One way to run a training; recorded in run.json and kept with every checkpoint."""

    device: str
    threads: int
    compute_dtype: str
    base_weights: str
    token_budget: int
    gradient_checkpointing: bool
    compile: bool
    optim: str
    predicted_bytes: int
    available_bytes: int

    def record(self) -> dict:
        return asdict(self)

    def table(self) -> str:
        """The plan as two aligned columns, for the log."""
        rows = {key: value for key, value in asdict(self).items() if not key.endswith("_bytes")}
        rows["token_budget"] = f"{self.token_budget:,} tokens a micro-batch"
        if self.device != "cpu":
            rows["memory"] = (
                f"{self.predicted_bytes / GIB:.1f} GiB predicted of "
                f"{self.available_bytes / GIB:.1f} GiB free"
            )
        width = max(map(len, rows))
        return "\n".join(f"  {key:<{width}}  {value}" for key, value in rows.items())


def available_threads() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def plan_training(
    execution: dict,
    shape: ModelShape,
    *,
    device: str,
    free_bytes: int,
    compute_dtype: str,
    supports_bf16: bool,
    use_qlora: bool,
    lora_rank: int,
    longest: int,
    batch_tokens: int,
    steps: int,
) -> Plan:
    """Choose how to train from what is free; every choice under `execution` is kept.

    Args:
        execution: the config's section of that name.
        free_bytes: memory free on the device.
        longest: tokens of the longest example; batch_tokens: mean tokens of a global batch.
        steps: optimiser steps still to do; compiling pays only where there are many.

    Raises:
        UserError: a fixed choice cannot run, or not even the smallest plan fits.
    """
    cuda = device.startswith("cuda")
    dtype = _dtype(compute_dtype, cuda, supports_bf16)
    threads = available_threads() if execution["threads"] == "auto" else execution["threads"]
    optim = execution["optim"]
    if not cuda and optim != "adamw_torch":
        optim = "adamw_torch"  # paged and fused optimisers exist on CUDA only; same mathematics
    common = {"device": device, "threads": threads, "compute_dtype": dtype, "optim": optim}
    if not cuda:
        return Plan(
            **common,
            base_weights=_fixed(execution["base_weights"], "dequantized"),
            token_budget=_fixed(execution["token_budget"], CPU_TOKEN_BUDGET),
            gradient_checkpointing=_fixed(execution["gradient_checkpointing"], False),
            compile=_fixed(execution["compile"], False),
            predicted_bytes=0,
            available_bytes=free_bytes,
        )
    available = int(free_bytes - GPU_RESERVE)
    for candidate in _candidates(execution, longest, batch_tokens, steps, use_qlora):
        predicted = predict_bytes(shape, lora_rank=lora_rank, use_qlora=use_qlora, **candidate)
        if predicted <= available:
            return Plan(
                **common, **candidate, predicted_bytes=predicted, available_bytes=free_bytes
            )
    raise UserError(
        f"execution: {device} has {free_bytes / GIB:.1f} GiB free, the smallest plan needs "
        f"{(predicted + GPU_RESERVE) / GIB:.1f} GiB; free the card, shorten dataset.encoder_max_len"
        " or choose a smaller model"
    )


def predict_bytes(
    shape: ModelShape,
    *,
    lora_rank: int,
    use_qlora: bool,
    base_weights: str,
    token_budget: int,
    gradient_checkpointing: bool,
    compile: bool,
) -> int:
    """Peak memory of a training step, in bytes; an estimate that errs on the large side."""
    four_bit = use_qlora and base_weights == "nf4"
    weights = shape.linear_parameters * (0.56 if four_bit else 2) + shape.embedding_parameters * 2
    # fp32 adapter, gradient, two AdamW moments
    adapters = shape.lora_parameters(lora_rank) * 16
    if four_bit:  # one projection at a time is dequantised, forward and backward
        weights += 4 * shape.hidden * shape.intermediate
    one_layer = _activation_bytes(shape, compile)
    per_token = (
        shape.layers * 2 * shape.hidden + one_layer
        if gradient_checkpointing
        else shape.layers * one_layer
    )
    # The head runs on supervised positions, at most HEAD_CHUNK at once: logits, their float copy
    # and gradient.
    logits = min(token_budget, 4096) * shape.vocabulary * 10
    return int(weights + adapters + token_budget * per_token + logits)


def _activation_bytes(shape: ModelShape, compiled: bool) -> int:
    """Bytes that one token keeps in one decoder layer for the backward pass."""
    attention = (2 * shape.heads + 2 * shape.kv_heads) * shape.head_dim
    values = 8 * shape.hidden + 2 * attention + 6 * shape.intermediate
    return int(2 * values * (0.75 if compiled else 1.0))


def _candidates(execution, longest, batch_tokens, steps, use_qlora):
    """Plans from the fastest to the smallest, fixed choices kept."""
    budgets = [budget for budget in (16384, 8192, 4096, 2048, 1024) if budget >= longest]
    budgets = [min(budget, max(longest, batch_tokens)) for budget in budgets] or [longest]
    compile_pays = steps * batch_tokens > 3_000_000
    choices = [
        ("dequantized", False, compile_pays),
        ("nf4", False, compile_pays),
        ("dequantized", True, compile_pays),
        ("nf4", True, compile_pays),
    ]
    seen = set()
    for base, checkpointing, compiled in choices:
        for budget in budgets:
            candidate = {
                "base_weights": _fixed(execution["base_weights"], base if use_qlora else "nf4"),
                "token_budget": _fixed(execution["token_budget"], budget),
                "gradient_checkpointing": _fixed(
                    execution["gradient_checkpointing"], checkpointing
                ),
                "compile": _fixed(execution["compile"], compiled),
            }
            key = tuple(candidate.values())
            if key not in seen:
                seen.add(key)
                yield candidate


def _fixed(choice, automatic):
    return automatic if choice == "auto" else choice


def _dtype(wanted: str, cuda: bool, supports_bf16: bool) -> str:
    """The type that the device computes in: float32 on a CPU, never bf16 where a GPU lacks it."""
    if not cuda:
        return "float32"
    return "float16" if wanted == "bfloat16" and not supports_bf16 else wanted
