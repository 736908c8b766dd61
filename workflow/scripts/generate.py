"""Summarise a study's dev and test dialogues with one model, zero-shot or with an adapter.

Examples:
  python workflow/scripts/generate.py --study embedded --experiment tiny_llama --format chat \\
      --output-dir results/embedded/zero_shot/tiny_llama/chat/predictions
  python workflow/scripts/generate.py --study embedded \\
      --adapter results/embedded/runs/tiny_llama/default/chat/fine_tuned/seed42/final_model \\
      --output-dir results/embedded/runs/tiny_llama/default/chat/fine_tuned/seed42/predictions

Of an adapter the run.json beside it says model, format, condition and seed.

Writes dev.jsonl, test.jsonl where there is a test split, and run.json, all of them at the end:
killed at any moment, it leaves nothing, and the same command runs it again.
"""

import argparse
import json
import time
from itertools import islice
from pathlib import Path

from yoyak.config.arguments import add_study_arguments, open_study, script_parser
from yoyak.config.frozen import BASE_WEIGHTS, CHECKPOINT
from yoyak.config.model_config import ModelConfig
from yoyak.config.study import CONDITIONS, Run, Study
from yoyak.errors import UserError, run_script
from yoyak.models.checkpoints import resolve_checkpoint
from yoyak.run.devices import claim_device
from yoyak.run.provenance import write_run_record
from yoyak.run.workspace import atomic_directory

SPLITS = ("dev", "test")
FORMATS = {"instruction", "chat"}
RUN_FLAGS = {"model": "experiment", "format": "format", "condition": "condition", "seed": "seed"}


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add_study_arguments(parser)
    parser.add_argument("--experiment", help="one of the study's models; default: the adapter's")
    parser.add_argument(
        "--format",
        choices=sorted(FORMATS),
        help="default: the adapter's, or the model file's",
    )
    parser.add_argument("--adapter", type=Path, help="final_model/ of a training; none: zero-shot")
    parser.add_argument(
        "--condition", choices=CONDITIONS.values(), help="of an adapter without its run.json"
    )
    parser.add_argument("--seed", type=int, help="of an adapter without its run.json")
    parser.add_argument("--data", type=Path, help="default: results/{study}/data")
    parser.add_argument("--output-dir", type=Path, required=True, help="the predictions folder")
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_arguments()
    study = open_study(args)
    if args.adapter is not None and not args.adapter.is_dir():
        raise UserError(f"{args.adapter}: no such folder; train this model first (train_llm.py)")
    run, config = run_and_config(args, study)
    data = args.data or study.results / "data"
    files = {split: data / f"{split}.csv" for split in SPLITS}
    if not files["dev"].is_file():
        raise UserError(f"{files['dev']}: no such file; run prepare_data.py first")
    files = {split: file for split, file in files.items() if file.is_file()}
    checkpoint = resolve_checkpoint(config.model)
    inputs = [*files.values(), *checkpoint.weight_files()]
    inputs += [args.adapter] if args.adapter is not None else []
    with claim_device(config.execution.device) as device:
        lines, record = generate_splits(
            config, run.format, study.language, args.adapter, files, device
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
    """What summarises, as an adapter's own record has it; and the model's config.

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
    if args.adapter is None:
        if args.condition or args.seed is not None:
            raise UserError("--condition and --seed belong to an --adapter; name it, too")
        return Run(found["model"], found["format"] or config.dataset.format_type), config
    for key in ("format", "condition"):
        if found[key] is None:
            raise UserError(
                f"{args.adapter}: no run.json of its training beside it, and no --{key}; say how "
                "it was trained with --format and --condition"
            )
    return Run(**{key: found[key] for key in RUN_FLAGS}), config


def training_record(adapter: Path | None) -> dict:
    """run.json of the training that an adapter came from; empty where there is none."""
    if adapter is None:
        return {}
    file = adapter.absolute().parent / "run.json"
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        run, settings = record["run"], record["settings"]
        names = (run["model"], run["format"], run["condition"])
        parts = (settings["model"], settings["lora"])
        if not all(isinstance(name, str) for name in names) or names[1] not in FORMATS:
            raise ValueError("not of a training")
        if not all(isinstance(part, dict) for part in parts) or type(run["seed"]) is not int:
            raise ValueError("not the record of a training")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise UserError(
            f"{file}: is not the record of a training; restore it or train again"
        ) from None
    return record


def check_base(adapter: Path | None, record: dict, config: ModelConfig) -> None:
    """Raise UserError where an adapter was trained on other base weights than the config's."""
    for key in (*CHECKPOINT, *BASE_WEIGHTS):
        section, name = key.split(".")
        trained = record.get("settings", {}).get(section, {})
        now = getattr(getattr(config, section), name)
        if name in trained and trained[name] != now:
            raise UserError(
                f"{adapter}: was trained with {key} {trained[name]} (its run.json), and the study "
                f"has {now}; make them equal in the model file, or summarise with summarize.py, "
                "which takes the adapter's own"
            )


def generate_splits(
    config: ModelConfig,
    prompt_format: str,
    language: str,
    adapter: Path | None,
    files: dict[str, Path],
    device: str,
) -> tuple[dict[str, str], dict]:
    """Text of each split's predictions file, and what run.json has to say of the generation.

    Args:
        files: CSV of each split, as prepare_data.py writes it.
    """
    from yoyak.data.control_tokens import decode_summaries
    from yoyak.data.dialogues import read_dialogues
    from yoyak.data.encoding import build_prompts
    from yoyak.data.prompts import stop_token_ids
    from yoyak.generation.decoding import DecodingSettings
    from yoyak.generation.engines import choose_generator, report_choice, run_halving
    from yoyak.generation.loading import load_model, peak_memory_gb, plan_loading
    from yoyak.generation.progress import RowProgress

    started = time.perf_counter()
    rows = {split: read_dialogues(file, labelled=False) for split, file in files.items()}
    loading = plan_loading(config, device)
    model, tokenizer = load_model(config, loading, adapter)
    prompts, shortened = {}, {}
    for split in rows:
        prompts[split], shortened[split] = build_prompts(
            rows[split], tokenizer, config, prompt_format, language
        )
    every_prompt = [prompt for split in prompts.values() for prompt in split]
    decoding = DecodingSettings.from_config(config)
    stops = stop_token_ids(tokenizer, prompt_format)
    execution = config.execution
    generator, check = choose_generator(
        model,
        every_prompt,
        stops,
        decoding,
        batch=execution.generation_batch,
        engine=execution.engine,
    )
    report_choice(generator.plan, check)
    slots = generator.plan.slots

    loaded = time.perf_counter()
    progress = RowProgress(len(every_prompt))
    results, plan = run_halving(generator, every_prompt, lambda *_: progress.row())
    seconds = time.perf_counter() - loaded
    left, lines = iter(results), {}
    for split in rows:
        generated = list(islice(left, len(prompts[split])))
        texts = decode_summaries(tokenizer, [row.tokens for row in generated])
        columns = (rows[split], texts, prompts[split], generated, shortened[split])
        lines[split] = "".join(prediction_line(*row) for row in zip(*columns, strict=True))
    new_tokens = sum(row.new_tokens for row in results)
    record = {
        "rows": len(every_prompt),
        "prompt_tokens": sum(map(len, every_prompt)),
        "new_tokens": new_tokens,
        "decoding": decoding.as_dict(),
        "stop_tokens": {str(stop): tokenizer.convert_ids_to_tokens(stop) for stop in stops},
        "execution": {
            **loading.as_dict(),
            **plan.as_dict(),
            "reduced_from": slots if plan.slots < slots else None,
        },
        "engine": check["engine"],
        "engine_check": check,
        "wall_seconds": round(time.perf_counter() - started, 2),
        "generation_seconds": round(seconds, 2),
        "tokens_per_second": round(new_tokens / seconds, 1),
        "peak_memory_gb": round(peak_memory_gb(), 3),
    }
    return lines, record


def prediction_line(row, text: str, prompt: list[int], result, shortened: bool) -> str:
    """One line of a predictions file; new_tokens counts the stop token too."""
    line = {
        "fname": row.fname,
        "prediction": text.strip(),
        "prompt_tokens": len(prompt),
        "new_tokens": result.new_tokens,
        "finish": result.finish,
        "dialogue_shortened": bool(shortened),
    }
    return json.dumps(line, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    run_script(main)
