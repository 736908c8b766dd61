"""Train one model: by hand on its own data, or one training of a study.

Examples:
  python workflow/scripts/train_llm.py --experiment llama_3.2_3b --use_qlora
  python workflow/scripts/train_llm.py --experiment qwen3_4b --use_qlora \\
      --use_instruction_augmentation --debug
  python workflow/scripts/train_llm.py --experiment llama_3.2_3b --study korean_dialogsum \\
      --format chat --seed 7 --devices 2

Without --study it trains on data/raw/train.csv and evaluates on data/raw/dev.csv after each epoch
to keep the best checkpoint (the embedded models: the embedded dialogues), and writes
results/manual/{experiment.name}/final_model/; flags are appended to the folder's name. If it is
killed, the same command resumes from the newest complete checkpoint.
"""

import argparse
from pathlib import Path

from yoyak.config.arguments import add_study_arguments, open_study, script_parser
from yoyak.config.frozen import add_sections
from yoyak.config.loading import chosen_adapters, given, load_config, overridden
from yoyak.config.model_config import ModelConfig
from yoyak.config.prompts import AUGMENTATIONS, FORMATS
from yoyak.config.study import CONDITIONS, Run, Study, with_prompts
from yoyak.config.variants import DEFAULT
from yoyak.data.own_data import check_own_data, example_record, own_study
from yoyak.data.splits import raw_digests
from yoyak.errors import UserError, run_script
from yoyak.run.logs import start_log, write_log
from yoyak.run.manual import (
    DEFAULT_SEED,
    MANUAL,
    deciding_settings,
    refuse_to_replace,
    result_folder,
)
from yoyak.run.workspace import discard
from yoyak.training.examples import build_examples
from yoyak.training.tracking import check_trackers
from yoyak.training.train_run import train_run


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add_study_arguments(parser, default=None, otherwise="the model's own data")
    parser.add_argument(
        "--experiment", required=True, help="a file of config/models/, without .yaml"
    )
    parser.add_argument("--variant", help="of the study's; default: its first one")
    parser.add_argument("--format", choices=FORMATS, help="default: the model file's format_type")
    parser.add_argument("--augmentation", default="none", choices=AUGMENTATIONS)
    parser.add_argument(
        "--use_instruction_augmentation",
        dest="augmentation",
        action="store_const",
        const="templates",
        help="five instruction templates a dialogue; the same as --augmentation templates",
    )
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    yes_or_no = argparse.BooleanOptionalAction
    parser.add_argument("--use_qlora", action=yes_or_no, help="NF4 base; default: the model file's")
    parser.add_argument("--use_lora", action=yes_or_no, help="adapters; default: the model file's")
    parser.add_argument(
        "--devices", type=int, metavar="N", help="share every batch between N devices of this host"
    )
    parser.add_argument(
        "--examples", type=Path, help="folder of build_dataset.py, with --study; default: built now"
    )
    parser.add_argument("--output-dir", type=Path, help="default: results/manual/…")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a training with other settings there"
    )
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_arguments()
    own, by_hand = not (args.study or args.settings), args.examples is None
    if own and not by_hand:
        raise UserError("--examples belong to a study: name it with --study")
    if own:
        study = own_study(args.experiment, load_config(args.experiment, args.debug), args.debug)
    else:
        study = open_study(args)
    config = effective_config(study, args)
    if not by_hand:
        add_sections(config, example_record(args.examples)["settings"])
    run = Run(
        args.experiment,
        args.format or config.dataset.format_type,
        CONDITIONS[args.augmentation],
        args.seed,
        variant_of(study, args),
    )
    config = config.prompted(run.format, run.augmentation)
    output = args.output_dir or (
        result_folder(study.models[args.experiment], config, run, args.debug)
        if own
        else MANUAL / study.name / run.folder.removeprefix("runs/")
    )
    data = None
    if by_hand:
        if own:
            check_own_data(study)
        data = raw_digests(study)
        if not args.overwrite:
            cure = "name another --output-dir, or replace it with --overwrite"
            refuse_to_replace(output, deciding_settings(config, run.record(), data), cure)
    log_file = None
    if args.settings:  # under Snakemake: no file, its `log:` directive keeps stderr
        write_log(None)
    else:
        log_file = start_log("train", f"train_llm_{args.experiment}")
    if config.tracking.report_to:
        check_trackers(config.tracking.report_to)
        config.tracking.project = config.tracking.project or study.name
    examples = args.examples or build_examples(study, config, run, output)
    train_run(config, run, examples, output, log_file, data)
    if by_hand:  # in a study, Snakemake discards it after the outputs are complete
        discard(output)


def effective_config(study: Study, args: argparse.Namespace) -> ModelConfig:
    """The model's config from the study (by hand, any model's), with flags merged over it."""
    known = args.experiment in study.models
    if known:
        variant = None if args.settings else variant_of(study, args)
        config = study.model(args.experiment, variant)
    else:
        config = with_prompts(load_config(args.experiment, args.debug), study.settings)
    config = chosen_adapters(config, args.use_lora, args.use_qlora, "the command line")
    flags = given({"execution": {"devices": args.devices}})
    return overridden(config, flags, "the command line") if flags else config


def variant_of(study: Study, args: argparse.Namespace) -> str:
    """The variant that the command names; by hand the study's first."""
    if args.settings:
        return args.variant or DEFAULT
    if args.variant not in (None, *study.variants):
        has = ", ".join(study.variants)
        raise UserError(f"--variant {args.variant}: not in study '{study.source}' (it has: {has})")
    return args.variant or study.variants[0]


if __name__ == "__main__":
    run_script(main)
