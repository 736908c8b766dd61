"""Summarise a study's dev and test dialogues with one model as it comes, or with an adapter.

Examples:
  python workflow/scripts/generate.py --study embedded --experiment tiny_llama --format chat \\
      --output-dir results/embedded/zero_shot/tiny_llama/chat/predictions
  python workflow/scripts/generate.py --study embedded \\
      --adapter results/embedded/runs/tiny_llama/default/chat/fine_tuned/seed42/final_model \\
      --output-dir results/embedded/runs/tiny_llama/default/chat/fine_tuned/seed42/predictions

--few-shot 2 puts two dialogues of train.csv with their summaries into every prompt.
For an adapter, the run.json beside it gives model, format, prompts, condition and seed. Other
decoding needs no new training: --num_beams 4 --output-dir beams, then score.py --predictions beams.

Writes dev.jsonl, test.jsonl if there is a test split, and run.json, all at the end: if killed, it
leaves nothing, and the same command starts again.
"""

import argparse
from pathlib import Path

from yoyak.config.arguments import (
    add_decoding_arguments,
    add_few_shot_argument,
    add_study_arguments,
    open_study,
    script_parser,
    with_decoding,
)
from yoyak.config.model_config import ModelConfig
from yoyak.config.prompts import FORMATS
from yoyak.config.study import CONDITIONS, FEW_SHOT, ZERO_SHOT, Run, Study
from yoyak.config.trained import as_trained, check_base, training_record
from yoyak.errors import UserError, run_script
from yoyak.generation.predictions import generate_splits
from yoyak.models.checkpoints import resolve_checkpoint
from yoyak.run.devices import claim_device
from yoyak.run.provenance import write_run_record
from yoyak.run.workspace import atomic_directory

SPLITS = ("dev", "test")
RUN_FLAGS = {"model": "experiment", "variant": "variant", "format": "format"}
RUN_FLAGS |= {"condition": "condition", "seed": "seed"}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add_study_arguments(parser)
    parser.add_argument("--experiment", help="one of the study's models; default: the adapter's")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        help="default: the adapter's, or the model file's",
    )
    parser.add_argument("--adapter", type=Path, help="final_model/ of a training; none: zero-shot")
    parser.add_argument(
        "--condition", choices=CONDITIONS.values(), help="of an adapter without its run.json"
    )
    parser.add_argument("--variant", help="of an adapter without its run.json")
    parser.add_argument("--seed", type=int, help="of an adapter without its run.json")
    add_few_shot_argument(parser)
    parser.add_argument("--data", type=Path, help="default: results/{study}/data")
    parser.add_argument("--output-dir", type=Path, required=True, help="the predictions folder")
    add_decoding_arguments(parser, without=["seed"])  # which is the training's here
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_arguments()
    study = open_study(args)
    if args.adapter is not None and not args.adapter.is_dir():
        raise UserError(f"{args.adapter}: no such folder; train this model first (train_llm.py)")
    run, config = run_and_config(args, study)
    config = with_decoding(config.prompted(run.format, few_shot=args.few_shot), args)
    data = args.data or study.results / "data"
    files = {split: data / f"{split}.csv" for split in SPLITS}
    if not files["dev"].is_file():
        raise UserError(f"{files['dev']}: no such file; run prepare_data.py first")
    files = {split: file for split, file in files.items() if file.is_file()}
    checkpoint = resolve_checkpoint(config.model)
    train = data / "train.csv"
    inputs = [*files.values(), *checkpoint.weight_files(), *([train] if args.few_shot else [])]
    inputs += [args.adapter] if args.adapter is not None else []
    with claim_device(config.execution.device) as device:
        lines, record = generate_splits(
            config, run.format, config.texts, args.adapter, files, device, args.few_shot, train
        )
        with atomic_directory(args.output_dir) as folder:
            for split, text in lines.items():
                (folder / f"{split}.jsonl").write_text(text, encoding="utf-8", newline="\n")
            write_run_record(
                folder / "run.json",
                step="generate",
                settings=config.model_dump(),
                inputs=inputs,
                run=run.record(),
                seed=run.seed,
                checkpoint_commit=checkpoint.commit(),
                **record,
            )
    print(f"wrote {args.output_dir}")


def run_and_config(args: argparse.Namespace, study: Study) -> tuple[Run, ModelConfig]:
    """The run (from an adapter's record if there is one) and the model's config.

    Raises UserError where the command contradicts the record, or says too little.
    """
    record = training_record(args.adapter)
    found = dict(record.get("run", {}))
    for key, flag in RUN_FLAGS.items():
        asked, own = getattr(args, flag), found.get(key)
        if asked is not None and own not in (None, asked):
            raise UserError(
                f"--{flag} {asked}: {args.adapter} was trained with {key} {own} (its run.json); "
                f"leave --{flag} away or name another --adapter"
            )
        found[key] = own if asked is None else asked
    if found["model"] is None:
        raise UserError("--experiment is missing: name one of the study's models")
    config = study.model(found["model"])
    check_base(args.adapter, record, config)
    config = as_trained(config, args.adapter, record)
    if args.adapter is None:
        if args.condition or args.variant or args.seed is not None:
            raise UserError("--condition, --variant and --seed belong to an --adapter; name it")
        condition = FEW_SHOT if args.few_shot else ZERO_SHOT
        return Run(found["model"], found["format"] or config.dataset.format_type, condition), config
    if args.few_shot:
        raise UserError("--few-shot is for the model as it comes; leave --adapter or it away")
    for key in ("format", "condition"):
        if found[key] is None:
            raise UserError(
                f"{args.adapter}: no run.json of its training beside it, and no --{key}; say how "
                "it was trained with --format and --condition"
            )
    return Run(**{key: found[key] for key in RUN_FLAGS if found[key] is not None}), config


if __name__ == "__main__":
    run_script(main)
