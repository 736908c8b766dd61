"""Make the execution plan of a training: the fastest way to run it that fits into free memory."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from yoyak.config.model_config import ModelConfig
from yoyak.errors import UserError
from yoyak.run.memory import GIB, SPEED, ModelShape, operations, predict_bytes
from yoyak.run.plan import FILLED, Engine, Plan

CPU_TOKEN_BUDGET = 2048
GPU_RESERVE = 2 * GIB  # CUDA context, kernels' workspaces, fragmentation
UNQUANTIZED = "unquantized"  # base weights without use_qlora: in the type of the computation
GPU_BUDGETS = (32768, 16384, 8192, 4096, 2048, 1024)
SMALL_PACK = 4096  # below, a GPU's products run slow: computing layers again costs less
# Of the first step: of fused layers, whose kernels are compiled, and of layers that torch compiles.
COMPILE_SECONDS = {"fused": 15, "compiled": 82}
ASSUMED_RATE = 400e12  # operations a second, to weigh that time against the time saved
LAUNCH_SECONDS = 6e-3  # Python's for the kernels of one fused layer, forward and backward
RECORDED = 100  # steps of a training that is worth recording as CUDA graphs


def available_threads() -> int:
    """Threads this process may use: those of OMP_NUM_THREADS, else of its processors.

    Snakemake sets OMP_NUM_THREADS to the job's own threads, so that `--cores` holds.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def plan_training(
    config: ModelConfig, shape: ModelShape, *, device: str, free_bytes: int, **facts
) -> Plan:
    """The fastest plan that fits into free memory; choices made in the config are kept.

    Args:
        config, shape, device, facts: as in `training_plans`.
        free_bytes: memory free on the device, or on each of several.

    Raises:
        UserError: a fixed choice cannot run, or not even the smallest plan fits.
    """
    plans = []
    for plan in training_plans(config, shape, device=device, free_bytes=free_bytes, **facts):
        if device == "cpu" or plan.predicted_bytes <= int(free_bytes - GPU_RESERVE):
            return plan
        plans.append(plan)
    raise UserError(
        f"execution: {device} has {free_bytes / GIB:.1f} GiB free, the smallest plan needs "
        f"{needed_bytes(plans) / GIB:.1f} GiB; free the GPU, shorten tokenizer.encoder_max_len "
        "or choose a smaller model"
    )


def needed_bytes(plans: Iterable[Plan]) -> int:
    """Memory that must be free on a GPU for the smallest of these plans."""
    return min(plan.predicted_bytes for plan in plans) + GPU_RESERVE


def training_plans(
    config: ModelConfig,
    shape: ModelShape,
    *,
    device: str,
    free_bytes: int,
    supports_bf16: bool,
    longest: int,
    batch_tokens: int,
    largest_batch: int,
    steps: int,
    devices: int = 1,
    engine: Engine = Engine(),  # noqa: B008 (frozen)
    supervised_share: float = 0.25,
) -> Iterator[Plan]:
    """All plans from the fastest to the smallest, whether they fit or not; only one on a CPU.

    Args:
        config: effective model config.
        longest: tokens of the longest example; batch_tokens: mean tokens of a global batch;
            largest_batch: tokens of the largest one, which sets the memory.
        steps: optimiser steps still to do; compiled kernels pay only where there are many.
        devices: how many share every batch; `free_bytes` and the plan are those of each.
        engine: how the loss is computed; the plan is made for it.
        supervised_share: tokens that carry a loss, as a share of all.

    Raises UserError for a fixed choice that cannot run.
    """
    execution, lora_rank = config.execution, config.lora_rank
    cuda = device.startswith("cuda")
    dtype = _dtype(config.model.compute_dtype, cuda, supports_bf16)
    threads = execution.threads
    if threads == "auto":
        threads = max(1, available_threads() // devices)
    batch_tokens = -(-batch_tokens // devices)
    fullest = largest_batch if devices == 1 else largest_batch // devices + longest
    common: dict[str, Any] = {
        **{"device": device, "devices": devices, "threads": threads, "available_bytes": free_bytes},
        **{"compute_dtype": dtype, "optim": _optimiser(config.training.optim, cuda)},
        **{"engine": engine.path, "head": engine.head},
        **{"one_row": engine.one_row, "eager": engine.eager},
    }
    if not config.lora.plain:  # the fused layers compute nothing else
        shape = replace(shape, fusable=False)
    layers = _layers(engine, shape, lora_rank, execution.compile)
    if not cuda:
        yield Plan(
            **common,
            base_weights=_base_weights(config, "dequantized"),
            token_budget=_fixed(execution.token_budget, CPU_TOKEN_BUDGET),
            gradient_checkpointing=_fixed(config.training.gradient_checkpointing, False),
            layers=layers[0] if execution.compile is True else "own",
            predicted_bytes=0,
        )
        return
    if dtype == "float32" or not supports_bf16:  # FlashAttention: 16 bits, Ampere or newer
        if execution.compile is True:
            raise UserError(
                "execution.compile: true needs 16-bit numbers and a GPU with bf16 (Ampere or "
                "newer); set execution.compile: auto"
            )
        layers = ("own",)
    candidates = [
        Plan(**common, **choices, predicted_bytes=0)
        for choices in _candidates(config, shape, layers, longest, batch_tokens, steps)
    ]
    one_gpu_in_bf16 = devices == 1 and dtype == "bfloat16"
    recordable = one_gpu_in_bf16 and steps >= RECORDED and not config.training.neftune_noise_alpha
    if recordable and _waits_for_python(shape, lora_rank, min(fullest, GPU_BUDGETS[0])):
        candidates = [*_with_graphs(candidates), *candidates]
    for plan in candidates:
        pack = max(longest, min(plan.token_budget, fullest))
        yield _predicted(plan, config, shape, pack, longest, supervised_share)


def _with_graphs(plans: list[Plan]) -> Iterator[Plan]:
    """Those of the plans whose packs can be CUDA graphs, as such.

    They are faster even in smaller packs. Layers that recompute or unpack NF4 were not measured.
    """
    for plan in plans:
        whole = not plan.gradient_checkpointing and plan.base_weights != "nf4"
        if plan.layers == "fused" and whole:
            yield replace(plan, graphs=True)


def next_smaller(
    plan: Plan, config: ModelConfig, shape: ModelShape, *, longest: int, supervised_share: float
) -> Plan | None:
    """The plan to resume with after `plan` ran out of memory; None if none is smaller.

    It overrules choices made by hand: they did not fit. What is learned stays the same in
    expectation (the global batch is untouched; dropout draws other masks).

    Args:
        config, shape, longest, supervised_share: as in `training_plans`.
    """
    if plan.device == "cpu":
        return None
    if plan.graphs:
        change: dict[str, Any] = {"graphs": False}
    elif not plan.gradient_checkpointing and plan.token_budget >= 2 * SMALL_PACK:
        change = {"token_budget": plan.token_budget // 2}
    elif not plan.gradient_checkpointing:
        change = {"gradient_checkpointing": True}
    elif plan.base_weights == "dequantized" and config.lora.use_qlora:
        change = {"base_weights": "nf4"}
    elif plan.token_budget > 512:
        change = {"token_budget": plan.token_budget // 2}
    else:
        return None
    smaller = replace(plan, **change)
    pack = max(longest, smaller.token_budget)
    return _predicted(smaller, config, shape, pack, longest, supervised_share)


def _predicted(
    plan: Plan,
    config: ModelConfig,
    shape: ModelShape,
    pack: int,
    longest: int,
    supervised_share: float,
) -> Plan:
    """The plan with its peak memory on a GPU. pack: tokens of the largest micro-batch."""
    plain = plan.engine == "plain"
    if plan.graphs:  # filled up
        pack = -(-pack // FILLED) * FILLED
    predicted = predict_bytes(
        shape,
        lora_rank=config.lora_rank,
        use_qlora=config.lora.use_qlora,
        base_weights=plan.base_weights,
        token_budget=pack,
        gradient_checkpointing=plan.gradient_checkpointing,
        layers=plan.layers,
        own_head=plan.head == "chunked" and not plain,
        supervised_share=supervised_share,
        scores=shape.heads * longest if plain and plan.eager else 0,
        dora=config.lora.dora,
        graphs=plan.graphs,
        float32=plan.compute_dtype == "float32",
    )
    return replace(plan, predicted_bytes=predicted)


def _layers(engine: Engine, shape: ModelShape, lora_rank: int, compile) -> tuple[str, ...]:
    """Kinds of decoder layers that an engine may run, fastest first; raises UserError for none."""
    if engine.path == "plain" or engine.layers == "own" or compile is False:
        if compile is True:
            raise UserError(
                "execution.compile: true asks for compiled layers, which this run cannot use "
                f"(engine: {engine.path}); set execution.compile: auto"
            )
        return ("own",)
    if engine.layers == "fused" and shape.fusable and lora_rank:
        return ("fused", "own")
    return ("compiled", "own")


def _candidates(config: ModelConfig, shape: ModelShape, kinds, longest, batch_tokens, steps):
    """Choices from the fastest to the smallest, fixed ones kept."""
    execution, lora_rank = config.execution, config.lora_rank
    budgets = [budget for budget in GPU_BUDGETS if budget >= longest] or [longest]
    large = [budget for budget in budgets if budget >= SMALL_PACK] or budgets[:1]
    quick = kinds[0]
    pays = quick != "own" and (
        execution.compile is True
        or _saved_seconds(shape, lora_rank, steps * batch_tokens, quick) > COMPILE_SECONDS[quick]
    )
    levels = [
        ("dequantized", False, large),
        ("nf4", False, large),
        ("dequantized", True, large),
        ("nf4", True, budgets),
    ]
    seen = set()
    # They are smaller, too: where nothing else fits they run even if they save no time.
    for layers in kinds if pays else reversed(kinds):
        for base, checkpointing, sizes in levels:
            for budget in sizes:
                candidate = {
                    "base_weights": _base_weights(config, base),
                    "token_budget": _fixed(execution.token_budget, budget),
                    "gradient_checkpointing": _fixed(
                        config.training.gradient_checkpointing, checkpointing
                    ),
                    "layers": quick if execution.compile is True else layers,
                }
                key = tuple(candidate.values())
                if key not in seen:
                    seen.add(key)
                    yield candidate


def _waits_for_python(shape: ModelShape, lora_rank: int, token_budget: int) -> bool:
    """Whether a GPU computes a layer of a pack faster than Python launches its kernels."""
    layer = operations(shape, lora_rank, recompute=False) / shape.layers
    return token_budget * layer / ASSUMED_RATE < LAUNCH_SECONDS


def _saved_seconds(shape: ModelShape, lora_rank: int, tokens: int, layers: str) -> float:
    """What fused or compiled layers save over a whole training."""
    needed = tokens * operations(shape, lora_rank, recompute=False) / ASSUMED_RATE
    return needed * (1 / SPEED["own"] - 1 / SPEED[layers])


def _base_weights(config: ModelConfig, automatic: str) -> str:
    fixed = _fixed(config.execution.base_weights, automatic)
    return fixed if config.lora.use_qlora else UNQUANTIZED


def _fixed(choice, automatic):
    return automatic if choice == "auto" else choice


def _optimiser(wanted: str, cuda: bool) -> str:
    """`auto` is PyTorch's AdamW, on a GPU its fused form: the same mathematics, fewer kernels."""
    if wanted == "auto":
        return "adamw_torch_fused" if cuda else "adamw_torch"
    if not cuda and wanted.startswith("paged_"):
        raise UserError(
            f"training.optim: found {wanted}, which needs an NVIDIA GPU, and this training runs on "
            "the CPU; write auto or adamw_torch"
        )
    return wanted


def _dtype(wanted: str, cuda: bool, supports_bf16: bool) -> str:
    """The type that the device computes in: float32 on a CPU, never bf16 where a GPU lacks it."""
    if not cuda:
        return "float32"
    return "float16" if wanted == "bfloat16" and not supports_bf16 else wanted
