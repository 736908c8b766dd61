"""The arguments that several scripts share."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yoyak.config.frozen import thaw
from yoyak.config.loading import given, load_config, overridden, read_config
from yoyak.config.model_config import GenerationSettings, ModelConfig
from yoyak.config.prompt_files import find_prompts
from yoyak.config.prompts import BY_LANGUAGE, FORMATS
from yoyak.config.study import Study, load_study
from yoyak.config.study_settings import StudySettings
from yoyak.config.trained import as_trained, merged_with, trained_with, training_record
from yoyak.errors import UserError


def script_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose --help shows the script's docstring, examples and all."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_study_arguments(
    parser: argparse.ArgumentParser, default: str | None = "embedded", otherwise: str = "embedded"
) -> None:
    """Add --study, --debug and --settings; `otherwise`: what --help says is used without
    --study."""
    parser.add_argument(
        "--study", default=default, help=f"a file of config/studies/; default: {otherwise}"
    )
    parser.add_argument("--debug", action="store_true", help="the study's small debug run")
    parser.add_argument(
        "--settings",
        metavar="JSON",
        help="the study as it was when Snakemake planned, in place of --study",
    )


def add_few_shot_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--few-shot",
        type=int,
        default=0,
        metavar="K",
        choices=range(65),
        help="examples from train, with their summaries, in the prompt; default: none",
    )


def add_prompts_argument(parser: argparse._ActionsContainer, otherwise: str) -> None:
    parser.add_argument(
        "--prompts",
        help="a file of config/prompts/, without .yaml, or the path of one; default: " + otherwise,
    )


def add_prompt_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --format, --prompts and --language, for a model that no study goes with."""
    parser.add_argument(
        "--format", choices=FORMATS, help="default: the training's, or the model file's"
    )
    add_prompts_argument(parser, "the training's, or the model file's, or those of --language")
    parser.add_argument("--language", choices=BY_LANGUAGE, help="of the prompt; default: ko")


def with_prompts(
    config: ModelConfig, args: argparse.Namespace, study: StudySettings | None = None
) -> ModelConfig:
    """The config with the texts that the flags name, or else the model, or else the study."""
    language = args.language or (study.language if study else "ko")
    named = args.prompts
    if named is None and args.language is None:
        named = config.prompts or (study.prompts if study else None)
    return config.model_copy(update={"prompts": find_prompts(named, language)})


def open_study(args: argparse.Namespace) -> Study:
    """The study that a command names; UserError for a mistake in its files."""
    return thaw(args.settings) if args.settings else load_study(args.study, debug=args.debug)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a model for summaries or a merge."""
    model = parser.add_argument_group("model (one of the three, or --adapter with one)")
    model.add_argument("--experiment", help="a file of config/models/, without .yaml")
    model.add_argument("--checkpoint", help="Hub id, model folder or .gguf file")
    model.add_argument("--adapter", type=Path, help="final_model/ of a training")
    model.add_argument(
        "--use_qlora",
        action=argparse.BooleanOptionalAction,
        help="NF4 base weights; default: the model file's, or none for --checkpoint",
    )


def add_decoding_arguments(parser: argparse.ArgumentParser, without: Sequence[str] = ()) -> None:
    """The keys of a model file's `generation`, in place of what the file says.

    without: keys whose flag means something else in this script.
    """
    decoding = parser.add_argument_group("decoding (default: the model file's, greedy)")
    for key, field in GenerationSettings.model_fields.items():
        if key in without:
            continue
        kind: dict[str, Any] = {"type": float if isinstance(field.default, float) else int}
        if field.annotation is bool:
            kind = {"action": "store_true", "default": None}
        text = (field.description or "").replace("%", "%%").replace("`", "")
        decoding.add_argument(f"--{key}", dest=f"generation.{key}", help=text, **kind)


def with_decoding(config: ModelConfig, args: argparse.Namespace) -> ModelConfig:
    """The config with the decoding flags that were given; UserError for a bad value."""
    flags = {
        key: getattr(args, f"generation.{key}", None) for key in GenerationSettings.model_fields
    }
    content = config.generation.model_dump() | given({"generation": flags}).get("generation", {})
    # In a config of its own: what Snakemake hands over holds some sections only.
    named = {"model": {"checkpoint": "-"}, "generation": content}
    decoding = read_config(named, "the command line").generation
    return config.model_copy(update={"generation": decoding})


def find_config(args: argparse.Namespace) -> tuple[ModelConfig, str]:
    """The effective model config that the arguments name, and its prompt format.

    Raises UserError when they name none, or two.
    """
    prompt_format = None
    if args.experiment and args.checkpoint:
        raise UserError("--experiment and --checkpoint name two models; give one")
    if args.adapter is not None and not args.adapter.is_dir():
        raise UserError(f"{args.adapter}: no such folder; --adapter takes a final_model/ folder")
    if args.experiment:
        config = load_config(args.experiment)
    elif args.checkpoint:
        content, prompt_format = merged_with(args.checkpoint)
        named = {"model": {"checkpoint": args.checkpoint}, "lora": {"use_qlora": False}}
        source = f"{args.checkpoint}/run.json" if content else "the command line"
        config = read_config({**content, **named}, source)
    elif args.adapter is not None:
        config = trained_with(args.adapter)
    else:
        raise UserError("no model is named: give --experiment, --checkpoint or --adapter")
    if args.adapter is not None:
        record = training_record(args.adapter)
        config = as_trained(config, args.adapter, record)
        prompt_format = record.get("run", {}).get("format", prompt_format)
    flags = given({"lora": {"use_qlora": args.use_qlora}})
    config = overridden(config, flags, "the command line")
    return config, prompt_format or config.dataset.format_type
