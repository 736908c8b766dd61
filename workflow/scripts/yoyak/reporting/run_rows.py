"""Rows of the tables from the result files of each run."""

from collections.abc import Sequence
from pathlib import Path

from yoyak.config.study import Run
from yoyak.errors import UserError, display
from yoyak.run.workspace import read_json

LARGEST = 1e15  # upper bound of counts of steps, tokens and seconds


def numbers(record: dict, keys: Sequence[str], path: Path, cure: str) -> dict:
    """These keys of a record, None where it lacks them; UserError where one is no number."""
    found = {key: record.get(key) for key in keys}
    for key, value in found.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and abs(value) < LARGEST):
            raise UserError(
                f"{display(path)}: {key}: found {str(value)[:40]}, must be a number; {cure}"
            )
    return found


def training_cost(run: Run, results: Path) -> dict:
    """Steps and supervised tokens of the run's training; empty for zero-shot."""
    if not run.trained:
        return {}
    path, cure = results / run.folder / "run.json", "train this model first"
    return numbers(read_json(path, cure), ("steps", "supervised_tokens"), path, cure)


def loss_fall(run: Run, results: Path) -> float | None:
    """Relative fall of the training loss; None if the record lacks it."""
    path, cure = results / run.folder / "run.json", "train this model first"
    return numbers(read_json(path, cure), ("loss_fall",), path, cure)["loss_fall"]


def warned_trainings(runs: Sequence[Run], results: Path) -> dict[str, int]:
    """The warnings that trainings started with, and the number of trainings for each."""
    found: dict[str, int] = {}
    for run in runs:
        if run.trained:
            record = read_json(results / run.folder / "run.json", "train this model first")
            warnings = record.get("warnings")
            for text in warnings if isinstance(warnings, list) else ():
                found[str(text)] = found.get(str(text), 0) + 1
    return found


def score_rows(run: Run, summary: dict) -> tuple[list[dict], list[dict]]:
    """The run's rows of all dialogues and of each group, from its scores/summary.json.

    "tokenizer" holds the name of a score: of a metric that is no ROUGE, its own.
    """
    rows, of_groups = [], []
    for name, scores in summary["scores"].items():
        label = {**run.record(), "tokenizer": name}
        rows.append({**label, **scores["all"]})
        of_groups += [
            {**label, "group": group, **of_group} for group, of_group in scores["groups"].items()
        ]
    return rows, of_groups


def resource_rows(run: Run, results: Path, expected_gpu_memory_gb: float | None) -> list[dict]:
    """Time and memory of training and generation, from the run.json beside each result."""
    rows = []
    for step, path in (("train", "run.json"), ("generate", "predictions/run.json")):
        if step == "train" and not run.trained:
            continue
        file, cure = results / run.folder / path, f"run the step '{step}' of this run first"
        record = read_json(file, cure)
        measured = ("wall_seconds", "tokens_per_second", "peak_memory_gb")
        rows.append(
            {
                **run.record(),
                "step": step,
                **numbers(record, measured, file, cure),
                "expected_gpu_memory_gb": expected_gpu_memory_gb,
                "device": device(record),
                "engine": record.get("engine"),
                "skipped_steps": record.get("skipped_steps"),
            }
        )
    return rows


def context_diagnostics(results: Path) -> list[dict]:
    """Diagnostics of human summaries, floors and falsified references: one row each."""
    found = read_json(results / "floors" / "run.json", "run floors.py (again)").get("diagnostics")
    rows = []
    for name, figures in (found or {}).items():
        condition, _, kind = name.partition("_")
        label = {"model": condition, "format": kind.replace("_", " ") or "first reference"}
        rows.append({**label, "condition": condition, **figures})
    return rows


def device(record: dict) -> str | None:
    """Name of the GPU that a run used, or of the processor; "2 × …" where it used two."""
    hardware = record.get("hardware")
    hardware = hardware if isinstance(hardware, dict) else {}
    gpu = hardware.get("gpu")
    name = gpu.get("name") if isinstance(gpu, dict) else gpu
    name = name or hardware.get("cpu")
    if not isinstance(name, str):
        return None
    execution = record.get("execution")
    count = execution.get("devices", 1) if isinstance(execution, dict) else 1
    return f"{count} × {name}" if isinstance(count, int) and count > 1 else name


_OWN_PARTS = "the quoted sum is not the sum of the quoted parts ({sum}); tokenizer not stated"
QUOTED = (  # figures that others published for Korean dialogue summaries
    {
        "source": "zero-shot, as quoted",
        "model": "Llama-3.2-Korean-3B",
        "rouge1": 26.96,
        "rouge2": 11.08,
        "rougeL": 24.22,
        "sum_as_quoted": 49.52,
        "note": _OWN_PARTS.format(sum="62.26"),
    },
    {
        "source": "zero-shot, as quoted",
        "model": "Qwen3-4B",
        "rouge1": 24.22,
        "rouge2": 9.23,
        "rougeL": 21.79,
        "sum_as_quoted": 45.02,
        "note": _OWN_PARTS.format(sum="55.24"),
    },
    {
        "source": "fine-tuned, as quoted",
        "model": None,
        "rouge1": None,
        "rouge2": None,
        "rougeL": None,
        "sum_as_quoted": 94.51,
        "note": "parts and tokenizer not stated; counted in characters, mere references of other "
        "dialogues reach a sum of 94 to 97",
    },
    {
        "source": "goal, as quoted",
        "model": None,
        "rouge1": None,
        "rouge2": None,
        "rougeL": None,
        "sum_as_quoted": 95.0,
        "note": "quoted as 95+; parts, tokenizer and data not stated",
    },
)
