"""Print the plan, memory and time of every training of a study before anything runs.

Examples:
  python workflow/scripts/plan.py --study korean_dialogsum
  python workflow/scripts/plan.py --study korean_dialogsum --device "RTX 4090"
  python workflow/scripts/plan.py --study korean_dialogsum --device H200 --devices 2
  python workflow/scripts/plan.py --study korean_dialogsum --gpu_memory 23.5 --rate 140

Without --device and --gpu_memory it plans for this machine's GPU (its free memory, its measured
rate) or CPU. --device plans for an idle GPU by name, from tests/benchmarks/README.md or NVIDIA's
data sheets. No weights are loaded, and no network is needed for the models of config/models/; the
Hub is asked once for the config.json of another. Tokens are counted in examples that are already
built, else estimated from the data.
"""

import argparse
import textwrap
from collections import Counter

from yoyak.config.arguments import script_parser
from yoyak.config.frozen import same_training
from yoyak.config.loading import given, overridden
from yoyak.config.study import Run, Study, load_study
from yoyak.data.counts import absent_splits, count_rows, count_tokens
from yoyak.errors import UserError, run_script
from yoyak.models.shapes import shape_of
from yoyak.reporting.results import read_table, where
from yoyak.run.estimate import START_SECONDS, Estimate, estimate_training
from yoyak.run.gpus import GPUS, Device, described_gpu, gpu_named, this_device
from yoyak.run.memory import GIB
from yoyak.run.plan_table import plan_row, print_table, total_time
from yoyak.run.planning import GPU_RESERVE
from yoyak.scoring.seeds import FEWEST, planned

# Standard deviations assumed until the study has results, in points of the mean of ROUGE-1, -2, -L:
# of a question's paired differences over dialogues, and of its mean over seeds. docs/validity.md
# (Power) says what they were measured on.
SD_DIALOGUES, SD_SEEDS = 6.2, 0.6


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    parser.epilog = textwrap.fill(f"GPUs that --device knows: {', '.join(GPUS)}.")
    parser.add_argument("--study", default="embedded", help="a file of config/studies/")
    parser.add_argument("--debug", action="store_true", help="the study's debug variant")
    parser.add_argument("--device", metavar="NAME", help='an empty GPU by name: "RTX 4090", A10')
    parser.add_argument("--gpu_memory", type=float, metavar="GIB", help="free on another GPU")
    parser.add_argument(
        "--rate", type=float, help="TFLOP/s of a large product in 16 bits; default: measured"
    )
    parser.add_argument(
        "--devices", type=int, metavar="N", help="GPUs of one training, as execution.devices"
    )
    args = parser.parse_args(arguments)
    if args.device and (args.gpu_memory is not None or args.rate is not None):
        parser.error("--device names a known GPU; --gpu_memory and --rate describe another one")
    for name in ("gpu_memory", "rate"):
        value = getattr(args, name)
        if value is not None and not 0 < value < float("inf"):
            parser.error(f"--{name}: must be more than 0")
    return args


def main() -> None:
    args = parse_arguments()
    study = load_study(args.study, debug=args.debug)
    flags = given({"execution": {"devices": args.devices}})
    for name, config in study.models.items():
        study.models[name] = overridden(config, flags, f"--devices, model {name}")
    if args.device:
        device = gpu_named(args.device)
    elif args.gpu_memory is not None:
        device = described_gpu(args.gpu_memory, args.rate)
    else:
        device = this_device(args.rate)
    seconds: dict[Run, float] = {}
    rows, notes = [], {}  # notes: each printed once, however many trainings it concerns
    for run in study.trainings():
        same = same_training(study, run)
        if same != run:
            notes[f"{run.folder}: decoded otherwise; takes the training of {same.folder}"] = None
            continue
        name = run.folder.removeprefix("runs/")
        try:
            found = plan_run(study, run, device)
        except UserError as error:
            rows.append([name, "cannot be planned: see below"])
            notes[str(error)] = None
            continue
        rows.append(plan_row(name, found))
        seconds[run] = found.seconds
        notes |= dict.fromkeys(f"warning: {run.model}: {text}" for text in found.warnings)
        if study.model(run.model, run.variant).training.early_stopping_patience:
            said = f"{run.model}, {run.variant}: planned to the last epoch; it may stop early"
            notes[said] = None
    if not seconds:
        raise UserError(f"no training of study '{study.name}' can be planned: {'; '.join(notes)}")
    print_table(rows)
    print(
        f"\nPlanned for {device.words()}.\n"
        f"{total_time(study, seconds)}, estimated from the models' shapes, with "
        f"{START_SECONDS} s each to start (assumed); on top come {generations(study)}.\n"
        f"Memory is what must be free on a GPU, {GPU_RESERVE / GIB:.0f} GiB for CUDA included.\n"
        "Planned for the packed engine where execution.engine allows it: a model that it is not "
        "right for trains with transformers' own forward, slower and in more memory."
    )
    print(power(study))
    for note in notes:
        print(note)
    for file, count in absent_splits(study).items():
        print(f"{file} is not here: planned for {count:,} rows, as in the Korean DialogSum data.")


def plan_run(study: Study, run: Run, device: Device) -> Estimate:
    config = study.model(run.model, run.variant)
    examples, tokens, longest = count_tokens(study, run, config)
    shape = shape_of(config.model)
    return estimate_training(
        config, shape, device, examples=examples, tokens=tokens, longest=longest
    )


def generations(study: Study) -> str:
    """How many prediction sets are generated, by condition."""
    counts = Counter("trained" if run.trained else run.condition for run in study.runs())
    kinds = ", ".join(f"{n} {name.replace('_', '-')}" for name, n in counts.items())
    return f"{counts.total()} generations ({kinds}), of {count_rows(study, 'dev'):,} dialogues each"


def power(study: Study) -> str:
    """The smallest differences that the study can detect, with one seed, its own, or the fewest."""
    n = count_rows(study, "dev")
    sd_dialogues, sd_seeds, source = deviations(study)
    lines = [
        f"Differences that {n:,} dialogues detect at 80 % power, in points of the mean of ROUGE-1, "
        f"-2 and -L (standard deviations {sd_dialogues:.1f} of dialogues, {sd_seeds:.1f} of seeds: "
        f"{source}):"
    ]
    own = len(study.seeds_of(study.variants[0]))  # of the variant that the questions are about
    for seeds in sorted({1, own, max(FEWEST, own)}):
        found = planned(n, seeds, sd_dialogues, sd_seeds)
        smallest = "none" if found is None else f"{found.detectable():.1f}"
        scope = ", of these trainings alone: training noise comes on top" if seeds == 1 else ""
        lines.append(f"  {seeds} seed{'s' if seeds > 1 else ''}: {smallest}{scope}")
    return "\n".join(lines)


def deviations(study: Study) -> tuple[float, float, str]:
    """Standard deviations over dialogues and seeds, from the study's results if it has any."""
    if not (study.results / "tables" / "questions.csv").is_file():
        return SD_DIALOGUES, SD_SEEDS, "assumed, docs/validity.md"
    rows = where(read_table(study.results, "questions"), seed=None)
    of_seeds = rows["sd"].max()
    known = of_seeds == of_seeds  # no number with one seed
    source = "the largest of this study's questions" if known else "this study's; seeds: assumed"
    return rows["sd_dialogues"].max(), of_seeds if known else SD_SEEDS, source


if __name__ == "__main__":
    run_script(main)
