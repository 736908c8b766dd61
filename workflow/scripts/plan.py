"""Print how every cell of a study would be trained, in what memory and time, before anything runs.

Examples:
  python workflow/scripts/plan.py --study korean_dialogsum
  python workflow/scripts/plan.py --study korean_dialogsum --gpu_memory 23.5 --rate 140
  python workflow/scripts/plan.py --study korean_dialogsum --device H200

Nothing is loaded but each checkpoint's config.json. Token counts come from examples that are
already built, else from the data and its usual lengths. On a machine with a GPU the free memory
and the rate of a large product are measured; `--device` plans for a card whose figures are known,
`--gpu_memory` for any other.
"""

import argparse

from yoyak.config.loading import given, overridden
from yoyak.config.model_config import ModelConfig
from yoyak.config.study import Cell, Study, load_study
from yoyak.data.counts import absent_splits, count_tokens
from yoyak.errors import UserError, run_script
from yoyak.run.cards import SHAPES, card_named, training_rate
from yoyak.run.execution import Plan, plan_training
from yoyak.run.machine import find_machine, known_machine
from yoyak.run.memory import ModelShape, expected_seconds

START_SECONDS = 60  # of a job: imports, loading, quantising, first kernels; assumed, not measured
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
    parser.add_argument(
        "--device", help="plan for an empty card of this name, whose figures are known: H200"
    )
    parser.add_argument(
        "--devices", type=int, metavar="N", help="devices of one training, as execution.devices"
    )
    args = parser.parse_args(arguments)
    if args.device and (args.gpu_memory is not None or args.rate is not None):
        parser.error("--device names a known card; --gpu_memory and --rate describe another one")
    return args


def main() -> None:
    args = parse_arguments()
    study = load_study(args.study, debug=args.debug)
    flags = given({"execution": {"devices": args.devices}})
    for name, config in study.models.items():
        study.models[name] = overridden(config, flags, f"--devices, model {name}")
    if args.device:
        machine = known_machine(card_named(args.device))
    else:
        machine = find_machine(args.gpu_memory, args.rate)
    rows, notes, trainings = [], {}, {}
    for cell in study.cells():
        try:
            row, trainings[cell.run] = plan_cell(study, cell, machine)
        except UserError as error:
            row = [cell.run.removeprefix("runs/"), "cannot be planned: see below"]
            notes[str(error)] = None  # once, however many cells it stops
        rows.append(row)
    print_columns([list(COLUMNS), *rows])
    hours = in_words(sum(trainings.values()))
    print(f"\n{machine['words']}; all trainings together about {hours}.")
    print("Times are estimates from the model's shape; generation and scoring come on top.")
    print(f"{engines_in_words(study)}.")
    for note in [*notes, *map(in_place_of, absent_splits(study).items())]:
        print(note)


def engines_in_words(study: Study) -> str:
    """By which engine the cells would run; only a start can tell whether it is right."""
    chosen = {name: config.execution.engine for name, config in study.models.items()}
    words = ", ".join(f"{name} {engine}" for name, engine in chosen.items())
    return (
        f"Planned for the packed engine where execution.engine allows it ({words}); a start that "
        "finds it different from transformers' own forward runs plain, slower and in more memory"
    )


def in_place_of(absent: tuple[str, int]) -> str:
    file, rows = absent
    return f"{file} is not there: planned for {rows:,} rows, as in the Korean DialogSum data."


def plan_cell(study: Study, cell: Cell, machine: dict) -> tuple[list[str], float]:
    """A row of the table and the seconds that the training would take."""
    config = study.models[cell.model]
    training = config.training
    shape = known_shape(config, machine)
    devices = config.execution.devices
    examples, tokens, longest = count_tokens(study, cell, config)
    batch = training.batch_size * training.gradient_accumulation_steps
    steps = training.max_steps or -(-examples // batch) * training.epochs
    batch_tokens = int(tokens / examples * min(batch, examples))
    rank = config.lora_rank
    plan = plan_training(
        config,
        shape,
        device=machine["device"],
        free_bytes=machine["free_bytes"],
        supports_bf16=machine["supports_bf16"],
        longest=longest,
        batch_tokens=batch_tokens,
        steps=steps,
        devices=devices,
    )
    known = training_rate(machine["card"], shape)
    if known and plan.compile and not plan.gradient_checkpointing:
        seconds = steps * batch_tokens / known
    else:
        seconds = expected_seconds(
            shape,
            lora_rank=rank,
            tokens=steps * batch_tokens,
            rate=machine["rate"],
            cuda=plan.device != "cpu",
            gradient_checkpointing=plan.gradient_checkpointing,
            compile=plan.compile,
        )
    seconds = START_SECONDS + seconds / devices
    return _row(cell, config, plan, steps, steps * batch_tokens, seconds), seconds


def _row(cell: Cell, config: ModelConfig, plan: Plan, steps: int, tokens: int, seconds: float):
    expected = config.resources.expected_gpu_memory_gb
    return [
        cell.run.removeprefix("runs/"),
        f"{steps:,}",
        f"{tokens / 1e6:.1f} M",
        plan.device if plan.devices == 1 else f"{plan.devices} × {plan.device.split(':')[0]}",
        plan.base_weights,
        f"{plan.token_budget:,}",
        "yes" if plan.gradient_checkpointing else "no",
        "yes" if plan.compile else "no",
        plan.compute_dtype,
        f"{plan.predicted_bytes / 1e9:.1f} GB" if plan.device != "cpu" else "",
        f"{expected} GB" if expected else "",
        in_words(seconds),
    ]


def known_shape(config: ModelConfig, machine: dict) -> ModelShape:
    """Of a well-known checkpoint without a look at the Hub, where the card is only known, too."""
    known = SHAPES.get(config.model.checkpoint)
    return known if known and machine["card"] else read_shape(config)


def read_shape(config: ModelConfig) -> ModelShape:
    """From the checkpoint's config.json (the Hub's cache, a folder, a package).

    Raises UserError where it cannot be had, which says what to do.
    """
    from yoyak.models.architecture import find_decoder
    from yoyak.models.checkpoints import resolve_checkpoint

    return find_decoder(resolve_checkpoint(config.model), config.model).shape


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
