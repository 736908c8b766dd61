"""Estimate a training before anything is loaded: steps, memory, time, and warnings.

plan.py prints it and a cluster's job asks for it; its plan is the one that the trainer makes.
"""

import csv
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yoyak.config.model_config import ModelConfig
from yoyak.config.training_settings import TrainingSettings
from yoyak.errors import UserError
from yoyak.run.gpus import GPUS, Device
from yoyak.run.memory import ModelShape, expected_seconds
from yoyak.run.plan import Plan
from yoyak.run.planning import needed_bytes, plan_training, training_plans

START_SECONDS = 60  # imports, loading, quantising, first kernels; assumed, not measured
FEW_STEPS = 50
BASE_MB = 6000  # host memory of Python with torch and CUDA
MIN_MINUTES = 30  # that a cluster's job asks for
ON_CLUSTER = GPUS["RTX A6000"]  # most clusters' GPUs are faster
UNKNOWN_SECONDS = 8 * 3600.0  # of a training whose model or data are not known yet
HEAD_ROOM, DOUBT = 1.5, 2  # margins over measured and over estimated values


@dataclass(frozen=True)
class Estimate:
    """smallest_bytes: free memory that the smallest plan needs on a GPU, whatever is planned for.

    steps: optimiser steps. tokens: all that are trained on. seconds: with the start of the job.
    """

    plan: Plan
    steps: int
    tokens: int
    smallest_bytes: int
    seconds: float
    warnings: list[str]


def estimate_training(
    config: ModelConfig,
    shape: ModelShape,
    device: Device,
    *,
    examples: int,
    tokens: int,
    longest: int,
) -> Estimate:
    """Estimate a training from the model's shape.

    Args:
        config: a model's effective config; `execution.devices` like `device` share the work.
        examples, tokens: of the training set. longest: tokens of its longest example.

    Raises UserError where the training does not fit or a fixed choice cannot run.
    """
    training, devices = config.training, config.execution.devices
    steps = optimiser_steps(training, examples)
    batch = training.batch_size * training.gradient_accumulation_steps
    batch_tokens = int(tokens / examples * min(batch, examples))
    facts: dict[str, Any] = {
        "longest": longest,
        "batch_tokens": batch_tokens,
        "largest_batch": likely_largest(batch_tokens, min(batch, examples), longest),
        "steps": steps,
        "devices": devices,
    }
    facts |= {"supports_bf16": device.bf16}
    plan = plan_training(config, shape, device=device.place, free_bytes=device.free_bytes, **facts)
    smallest = needed_bytes(training_plans(config, shape, device="cuda:0", free_bytes=0, **facts))
    seconds = expected_seconds(
        shape,
        lora_rank=config.lora_rank,
        tokens=steps * batch_tokens,
        rate=device.rate,
        cuda=device.place != "cpu",
        gradient_checkpointing=plan.gradient_checkpointing,
        layers=plan.layers,
        dora=config.lora.dora,
    )
    return Estimate(
        plan,
        steps,
        steps * batch_tokens,
        smallest,
        START_SECONDS + seconds / devices,
        training_warnings(training, steps, longest, shape.positions),
    )


def likely_largest(batch_tokens: int, batch: int, longest: int) -> int:
    """Tokens of the largest of some hundred global batches, from the mean one (an upper estimate).

    Three standard deviations above it, where lengths vary by 0.55 of the mean (dialogues of
    DialogSum: 0.52, in characters); the trainer counts the real batches.
    """
    return min(batch * longest, math.ceil(batch_tokens * (1 + 3 * 0.55 / math.sqrt(batch))))


def optimiser_steps(training: TrainingSettings, examples: int) -> int:
    """Optimiser steps of a whole training."""
    batch = training.batch_size * training.gradient_accumulation_steps
    return training.max_steps or math.ceil(-(-examples // batch) * training.epochs)


def training_warnings(
    training: TrainingSettings, steps: int, longest: int, positions: int
) -> list[str]:
    """Warnings, in words, about settings that let a model learn little or nothing.

    Args:
        steps: optimiser steps. longest: tokens of the longest example, prompt and answer.
        positions: that the model was made for; 0: not known.
    """
    found = []
    if steps < FEW_STEPS:
        batch = training.batch_size * training.gradient_accumulation_steps
        found.append(
            f"only {steps} optimiser steps (fewer than {FEW_STEPS}): the model will hardly be "
            f"trained; make the batch of {batch} smaller (training.batch_size, "
            "training.gradient_accumulation_steps), or train for more epochs"
        )
    warm_up = math.ceil(steps * training.warmup_ratio)
    if 2 * warm_up >= steps:
        found.append(
            f"the warm-up takes {warm_up} of {steps} optimiser steps: the learning rate is small "
            "for most of the training; make training.warmup_ratio smaller"
        )
    if 0 < positions < longest:
        found.append(
            f"the longest example may take {longest:,} tokens and the model was made for "
            f"{positions:,} (max_position_embeddings); make tokenizer.encoder_max_len smaller"
        )
    return found


@dataclass(frozen=True)
class Request:
    """What a cluster's job asks for, before its retries: host memory in MB, wall time in seconds.

    One that turns out too small is no loss: trainings resume, and a retry asks for more.
    """

    memory_mb: int
    seconds: float

    def minutes(self, attempt: int) -> int:
        """Time limit in whole minutes; each attempt adds as much again."""
        return max(MIN_MINUTES, math.ceil(self.seconds / 60)) * attempt

    def megabytes(self, attempt: int) -> int:
        """Memory limit; each attempt adds half as much again."""
        return math.ceil(self.memory_mb * (1 + 0.5 * (attempt - 1)))


def measured_request(folder: Path, pattern: str) -> Request | None:
    """From the largest values that Snakemake measured for similar jobs; None without any.

    Args:
        folder: of the benchmark files of a rule; pattern: those of like jobs, as in glob.
    """
    found = [row for file in sorted(folder.glob(pattern)) for row in _benchmark(file)]
    if not found:
        return None
    seconds, memory = (max(column) * HEAD_ROOM for column in zip(*found, strict=True))
    return Request(max(BASE_MB, math.ceil(memory)), seconds)


def _benchmark(file: Path) -> list[tuple[float, float]]:
    """(seconds, MB resident) of each row; empty for an incomplete file."""
    try:
        rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines(), delimiter="\t"))
        return [(float(row["s"]), float(row["max_rss"])) for row in rows]
    except (OSError, KeyError, TypeError, ValueError):
        return []


def training_request(
    config: ModelConfig, shape: ModelShape | None, counts: tuple[int, int, int] | None
) -> Request:
    """As estimated, for a usual GPU of a cluster; counts: examples, tokens, longest, if known."""
    seconds = UNKNOWN_SECONDS
    if shape and counts:
        known = dict(zip(("examples", "tokens", "longest"), counts, strict=True))
        try:
            found = estimate_training(config, shape, ON_CLUSTER, **known)
        except UserError:  # it needs a larger GPU than the usual one
            larger = replace(ON_CLUSTER, free_bytes=2**60)
            found = estimate_training(config, shape, larger, **known)
        seconds = DOUBT * found.seconds
    return Request(host_megabytes(shape, config.execution.devices), seconds)


def cpu_megabytes(shape: ModelShape | None) -> int:
    """Memory of a job on the CPU, in MB: weights in float32, and once more while they load."""
    parameters = shape.parameters if shape else 8e9
    return 1000 + math.ceil(12 * parameters / 1e6)


def host_megabytes(shape: ModelShape | None, processes: int = 1) -> int:
    """Host memory while 16-bit weights are read and quantised, in MB."""
    parameters = shape.parameters if shape else 8e9
    return BASE_MB + math.ceil(processes * 1.5 * 2 * parameters / 1e6)
