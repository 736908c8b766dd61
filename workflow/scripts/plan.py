"""Print how every cell of a study would be trained, in what memory and time, before anything runs.

Examples:
  python workflow/scripts/plan.py --study korean_dialogsum
  python workflow/scripts/plan.py --study korean_dialogsum --gpu_memory 23.5 --rate 140

Nothing is loaded but each checkpoint's config.json. Token counts come from examples that are
already built, else from the data and its usual lengths. On a machine with a GPU the free memory
and the rate of a large product are measured; `--gpu_memory` plans for another card.
"""

import argparse
import json
from pathlib import Path

from yoyak.run.execution import GIB, Plan, plan_training
from yoyak.run.memory import ModelShape, expected_seconds
from yoyak.settings.cli import run_script
from yoyak.settings.config import UserError
from yoyak.settings.study import Cell, Study, load_study

USUAL_TOKENS = 330  # an example of the Korean DialogSum data, prompt and answer
COLUMNS = (
    *("cell", "steps", "tokens", "device", "base", "budget", "recompute", "fused", "dtype"),
    *("memory", "expected", "time"),
)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", default="embedded", help="a file of config/studies/")
    parser.add_argument("--debug", action="store_true", help="the study's debug variant")
    parser.add_argument(
        "--gpu_memory", type=float, help="plan for a GPU with this many GiB free, not for this one"
    )
    parser.add_argument(
        "--rate", type=float, help="10¹² operations a second of a large product; default: measured"
    )
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_arguments()
    study = load_study(args.study, debug=args.debug)
    machine = find_machine(args.gpu_memory, args.rate)
    rows, notes, seconds = [], {}, 0.0
    for cell in study.cells():
        try:
            row, took = plan_cell(study, cell, machine)
            seconds += took
        except UserError as error:
            row = [cell.run.removeprefix("runs/"), "cannot be planned: see below"]
            notes[str(error)] = None  # once, however many cells it stops
        rows.append(row)
    print_columns([list(COLUMNS), *rows])
    print(f"\n{machine['words']}; all trainings together about {in_words(seconds)}.")
    print("Times are estimates from the model's shape; generation and scoring come on top.")
    for note in notes:
        print(note)


def find_machine(gpu_memory: float | None, rate: float | None) -> dict:
    """device, free_bytes, supports_bf16, rate (operations a second), and these in words."""
    import torch

    here = torch.cuda.is_available()
    cuda = here or gpu_memory is not None
    if gpu_memory is not None:
        free, name = int(gpu_memory * GIB), f"a GPU with {gpu_memory:g} GiB free"
    elif here:
        free, name = torch.cuda.mem_get_info()[0], torch.cuda.get_device_name()
    else:
        free, name = 0, "this machine's CPU"
    measured = rate is None and (here or not cuda)
    if rate is None:
        rate = _measure_rate(cuda) / 1e12 if measured else 150.0
    how = "measured" if measured else "assumed"
    return {
        "device": "cuda:0" if cuda else "cpu",
        "free_bytes": free,
        "supports_bf16": not here or torch.cuda.is_bf16_supported(including_emulation=False),
        "rate": rate * 1e12,
        "words": f"Planned for {name}, large products at {rate:.3g} TFLOP/s ({how})",
    }


def _measure_rate(cuda: bool) -> float:
    """Operations a second of a large product on random data, the median of a few."""
    import time

    import torch

    size, device = (8192, "cuda") if cuda else (1024, "cpu")
    dtype = torch.float32
    if cuda:
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(7):
        started = time.perf_counter()
        left @ right
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 2 * size**3 / sorted(times)[3]


def plan_cell(study: Study, cell: Cell, machine: dict) -> tuple[list[str], float]:
    """A row of the table and the seconds that the training would take."""
    config = study.models[cell.model]
    model, training = config["model"], config["training"]
    shape = read_shape(config)
    examples, tokens, longest = count_tokens(study, cell, config)
    batch = training["batch_size"] * training["gradient_accumulation_steps"]
    steps = training["max_steps"] or -(-examples // batch) * training["epochs"]
    batch_tokens = int(tokens / examples * min(batch, examples))
    rank = config["lora"]["r"] if model["use_lora"] else 0
    plan = plan_training(
        config["execution"],
        shape,
        device=machine["device"],
        free_bytes=machine["free_bytes"],
        compute_dtype=model["compute_dtype"],
        supports_bf16=machine["supports_bf16"],
        use_qlora=model["use_qlora"],
        lora_rank=rank,
        longest=longest,
        batch_tokens=batch_tokens,
        steps=steps,
    )
    seconds = expected_seconds(
        shape,
        lora_rank=rank,
        tokens=steps * batch_tokens,
        rate=machine["rate"],
        cuda=plan.device != "cpu",
        gradient_checkpointing=plan.gradient_checkpointing,
        compile=plan.compile,
    )
    return _row(cell, config, plan, steps, steps * batch_tokens, seconds), seconds


def _row(cell: Cell, config: dict, plan: Plan, steps: int, tokens: int, seconds: float):
    expected = config["resources"]["expected_gpu_memory_gb"]
    return [
        cell.run.removeprefix("runs/"),
        f"{steps:,}",
        f"{tokens / 1e6:.1f} M",
        plan.device,
        plan.base_weights,
        f"{plan.token_budget:,}",
        "yes" if plan.gradient_checkpointing else "no",
        "yes" if plan.compile else "no",
        plan.compute_dtype,
        f"{plan.predicted_bytes / 1e9:.1f} GB" if plan.device != "cpu" else "",
        f"{expected} GB" if expected else "",
        in_words(seconds),
    ]


def read_shape(config: dict) -> ModelShape:
    """From the checkpoint's config.json (the Hub's cache, a folder, a package).

    Raises UserError where it cannot be had, which says what to do.
    """
    from transformers import AutoConfig

    from yoyak.models.checkpoints import hub_error, resolve_checkpoint

    checkpoint = resolve_checkpoint(config["model"])
    try:
        found = AutoConfig.from_pretrained(checkpoint.name, **checkpoint.kwargs)
    except Exception as error:
        raise hub_error(config["model"], error) from error
    return ModelShape.from_config(found)


def count_tokens(study: Study, cell: Cell, config: dict) -> tuple[int, int, int]:
    """(examples, their tokens, tokens of the longest) of a cell's training set."""
    limits = config["dataset"]
    longest = limits["encoder_max_len"] + limits["decoder_max_len"]
    place = f"examples/{cell.model}/{cell.format}/{cell.augmentation}/statistics.json"
    built = study.results / place
    if built.is_file():
        counts = json.loads(built.read_text(encoding="utf-8"))["train"]
        return counts["examples"], counts["tokens"], counts["example_tokens"]["max"]
    from yoyak.data.prompts import AUGMENTATIONS

    examples = _count_dialogues(study) * AUGMENTATIONS[cell.augmentation]
    return examples, examples * min(USUAL_TOKENS, longest), longest


def _count_dialogues(study: Study) -> int:
    from yoyak.data.reading import read_records
    from yoyak.data.splits import raw_file

    data = study.settings["data"]
    prepared: Path = study.results / "data" / "train.csv"
    if prepared.is_file():
        return len(read_records(prepared)[0])
    count = len(read_records(raw_file(study.source, data, "train"))[0])
    if study.row_limits:
        count = min(count, study.row_limits["train"])
    held_out = data["selection_fraction"] if data["selection"] == "held_out" else 0
    return max(1, round(count * (1 - held_out)))


def in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def print_columns(rows: list[list[str]]) -> None:
    """Aligned columns; a row of two cells is a remark and does not widen its column."""
    whole = [row for row in rows if len(row) == len(COLUMNS)]
    widths = [max(len(row[i]) for row in whole) for i in range(len(COLUMNS))]
    widths[0] = max(len(row[0]) for row in rows)
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join(cells).rstrip())


if __name__ == "__main__":
    run_script(main)
