"""What a job asks a cluster for: host memory and time, measured where such a job has run before.

Everything here is cheap: small files are read, no library of models is imported. A request that
turns out too small is no loss: a training resumes, a generation is short, a retry asks for more.
"""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from yoyak.config.model_config import ModelConfig
from yoyak.errors import UserError
from yoyak.run.execution import plan_training
from yoyak.run.memory import GIB, ModelShape, expected_seconds

RATE = 150e12  # operations a second of a large product on the GPU that is planned for
FREE_BYTES = 40 * GIB  # its free memory; a larger card trains faster
USUAL_TOKENS = 330  # of an example of the Korean DialogSum data, prompt and answer
START_SECONDS = 600  # loading, first kernels, evaluation, a slow file system
UNKNOWN = 8 * 3600.0  # where neither a shape nor a measurement says how long a training takes
BASE_MB = 6000  # Python with torch and CUDA
MIN_MINUTES = 30
HEAD_ROOM = 1.5  # over what was measured; estimates get twice their time


@dataclass(frozen=True)
class Needs:
    """Host memory in MB and wall time in seconds of one job, without head-room for its retries."""

    memory_mb: int
    seconds: float

    def minutes(self, attempt: int) -> int:
        """Time limit in whole minutes; each attempt adds as much again."""
        return max(MIN_MINUTES, math.ceil(self.seconds / 60)) * attempt

    def megabytes(self, attempt: int) -> int:
        """Memory limit; each attempt adds half as much again."""
        return math.ceil(self.memory_mb * (1 + 0.5 * (attempt - 1)))


def measured(folder: Path, pattern: str) -> Needs | None:
    """The largest of what Snakemake measured for jobs like this one, with head-room.

    Args:
        folder: of the benchmark files of a rule; pattern: those of like jobs, as in glob.
    """
    found = [row for file in sorted(folder.glob(pattern)) for row in _benchmark(file)]
    if not found:
        return None
    seconds, memory = (max(column) for column in zip(*found, strict=True))
    return Needs(
        memory_mb=max(BASE_MB, math.ceil(memory * HEAD_ROOM)),
        seconds=START_SECONDS + seconds * HEAD_ROOM,
    )


def _benchmark(file: Path) -> list[tuple[float, float]]:
    """(seconds, MB resident) of each row; none from a file that is not whole."""
    try:
        rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines(), delimiter="\t"))
        return [(float(row["s"]), float(row["max_rss"])) for row in rows]
    except (OSError, KeyError, TypeError, ValueError):
        return []


def read_shape(config_json: Path | None) -> ModelShape | None:
    """From a checkpoint's config.json; None where it cannot be had or says too little."""
    try:
        values = json.loads(config_json.read_text(encoding="utf-8"))
        return ModelShape.from_config(
            SimpleNamespace(**{"tie_word_embeddings": False, "hidden_act": "silu", **values})
        )
    except (AttributeError, OSError, TypeError, UserError, ValueError):
        return None


def training_needs(
    config: ModelConfig,
    shape: ModelShape | None,
    examples: int | None,
    tokens: int | None,
    devices: int,
) -> Needs:
    """Estimate of a training from the model's shape, by the plan that the trainer would make.

    Args:
        config: a model's effective config. examples, tokens: of its training set, if known.
    """
    seconds = UNKNOWN
    if shape and examples and tokens:
        seconds = START_SECONDS + 2 * _training_seconds(config, shape, examples, tokens) / devices
    return Needs(memory_mb=loading_mb(shape, devices), seconds=seconds)


def loading_mb(shape: ModelShape | None, processes: int = 1) -> int:
    """Host memory while 16-bit weights are read and quantised, in MB."""
    parameters = shape.parameters if shape else 8e9
    return BASE_MB + math.ceil(processes * 1.5 * 2 * parameters / 1e6)


def _training_seconds(config: ModelConfig, shape: ModelShape, examples: int, tokens: int) -> float:
    training, limits = config.training, config.tokenizer
    batch = training.batch_size * training.gradient_accumulation_steps
    steps = training.max_steps or -(-examples // batch) * training.epochs
    batch_tokens = int(tokens / examples * min(batch, examples))
    rank = config.lora_rank
    try:
        plan = plan_training(
            config,
            shape,
            device="cuda:0",
            free_bytes=FREE_BYTES,
            supports_bf16=True,
            longest=limits.encoder_max_len + limits.decoder_max_len,
            batch_tokens=batch_tokens,
            steps=steps,
        )
        recompute, fused = plan.gradient_checkpointing, plan.compile
    except UserError:  # it needs a larger card than the assumed one
        recompute, fused = True, False
    return expected_seconds(
        shape,
        lora_rank=rank,
        tokens=steps * batch_tokens,
        rate=RATE,
        cuda=True,
        gradient_checkpointing=recompute,
        compile=fused,
    )


def count_examples(statistics: Path, data: list[Path], times: int) -> tuple[int, int] | None:
    """(examples, tokens) of a training set; None where there are no data yet.

    Args:
        statistics: statistics.json of the built examples. data: CSV or JSONL of the dialogues, the
            best known first. times: examples that each dialogue becomes.
    """
    try:
        counts = json.loads(statistics.read_text(encoding="utf-8"))["train"]
        return counts["examples"], counts["tokens"]
    except (OSError, KeyError, TypeError, ValueError):
        pass
    for file in data:
        rows = _count_rows(file)
        if rows:
            return rows * times, rows * times * USUAL_TOKENS
    return None


def _count_rows(file: Path) -> int:
    try:
        with open(file, encoding="utf-8-sig", newline="") as lines:
            if file.suffix == ".csv":
                return max(0, sum(1 for _ in csv.reader(lines)) - 1)
            return sum(1 for line in lines if line.strip())
    except (OSError, ValueError, csv.Error):
        return 0
