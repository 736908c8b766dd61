"""Tokenise prepared dialogues for one model, prompt format and augmentation.

Examples:
  python workflow/scripts/build_dataset.py --study embedded --experiment tiny_llama --format chat \\
      --augmentation templates --data results/embedded/data \\
      --output-dir results/embedded/examples/tiny_llama/chat/templates

Writes train.safetensors, selection.safetensors, statistics.json and run.json. Only train is
augmented: the selection slice is measured with the prompt that generation uses.
"""

import argparse
import hashlib
import json
import time
from pathlib import Path

from yoyak.config.arguments import add_study_arguments, open_study, script_parser
from yoyak.config.frozen import EXAMPLE_KEYS, chosen
from yoyak.config.model_config import ModelConfig
from yoyak.config.section import canonical
from yoyak.config.study import Study
from yoyak.data.dialogues import read_dialogues
from yoyak.errors import UserError, run_script
from yoyak.run.provenance import write_run_record
from yoyak.run.workspace import atomic_directory, atomic_write_json


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = script_parser(__doc__)
    add_study_arguments(parser)
    parser.add_argument("--experiment", required=True, help="one of the study's models")
    parser.add_argument("--format", required=True, choices=["instruction", "chat"])
    parser.add_argument("--augmentation", default="none", choices=["none", "templates"])
    parser.add_argument("--data", type=Path, help="default: results/{study}/data")
    parser.add_argument(
        "--output-dir",
        type=Path,
        help="default: results/{study}/examples/{model}/{format}/{augmentation}",
    )
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_arguments()
    study = open_study(args)
    config = study.model(args.experiment)
    data = args.data or study.results / "data"
    place = f"{args.experiment}/{args.format}/{args.augmentation}"
    output = args.output_dir or study.results / "examples" / place
    statistics = build_dataset(study, config, args.format, args.augmentation, data, output)
    for split in ("train", "selection"):
        counted = statistics[split]
        print(
            f"{split}: {counted['examples']:,} examples, {counted['tokens']:,} tokens, "
            f"{counted['supervised_tokens']:,} supervised, {counted['prompts_shortened']:,} with "
            f"a shortened dialogue, {counted['answers_over_decoder_max_len']:,} with a summary "
            "above decoder_max_len"
        )
    print(f"wrote {output}")


def build_dataset(
    study: Study,
    config: ModelConfig,
    prompt_format: str,
    augmentation: str,
    data: Path,
    output: Path,
) -> dict:
    """Write the examples of one training, all or nothing; returns statistics.json's content.

    Raises UserError when the data folder lacks a split or the tokenizer cannot carry the format.
    """
    started = time.perf_counter()
    files = {split: data / f"{split}.csv" for split in ("train", "selection")}
    card = data / "data_card.json"
    for file in [*files.values(), card]:
        if not file.is_file():
            raise UserError(f"{file}: no such file; run prepare_data.py first")
    rows = {split: read_dialogues(file) for split, file in files.items()}
    # Only now the heavy imports: a mistake in the settings or the data is told at once.
    from yoyak.data.llm_dataset import create_llm_dataset
    from yoyak.data.preview import show_example
    from yoyak.data.prompts import prompt_frames, stop_token_ids
    from yoyak.models.lora_loader import LoRALoader

    loader = LoRALoader(config)
    tokenizer = loader.load_tokenizer()
    language = study.language
    datasets = {
        split: create_llm_dataset(
            dialogues=[row.dialogue for row in rows[split]],
            summaries=[row.summary for row in rows[split]],
            tokenizer=tokenizer,
            encoder_max_len=config.tokenizer.encoder_max_len,
            decoder_max_len=config.tokenizer.decoder_max_len,
            format_type=prompt_format,
            use_instruction_augmentation=split == "train" and augmentation == "templates",
            language=language,
            truncate_dialogue=config.dataset.truncate_dialogue,
        )
        for split in files
    }
    frames = prompt_frames(tokenizer, prompt_format, language, augmentation)
    texts = [[list(frame.prefix_ids), frame.head, frame.tail] for frame in frames]
    stops = stop_token_ids(tokenizer, prompt_format)
    statistics = {
        **{split: dataset.statistics for split, dataset in datasets.items()},
        "frames": [
            {key: getattr(frame, key) for key in ("head", "tail", "system")} for frame in frames
        ],
        "template_hash": hashlib.sha256(canonical([texts, stops]).encode()).hexdigest(),
        "stop_tokens": {str(stop): tokenizer.convert_ids_to_tokens(stop) for stop in stops},
        "example": show_example(datasets["train"], 0, rows["train"], tokenizer),
    }
    with atomic_directory(output) as folder:
        for split, dataset in datasets.items():
            dataset.save(folder / f"{split}.safetensors")
        atomic_write_json(folder / "statistics.json", statistics)
        write_run_record(
            folder / "run.json",
            step="build_dataset",
            settings={
                **chosen(config, EXAMPLE_KEYS),
                "format": prompt_format,
                "augmentation": augmentation,
                "language": language,
            },
            inputs=[*files.values(), *_tokenizer_files(loader.source)],
            data=trained_on(card),
            checkpoint_commit=loader.source.commit(),
            template_hash=statistics["template_hash"],
            wall_seconds=round(time.perf_counter() - started, 3),
        )
    return json.loads(json.dumps(statistics))


def trained_on(card: Path) -> dict[str, str]:
    """The raw files that train and dev came from, and which split chooses the best checkpoint."""
    content = json.loads(card.read_text(encoding="utf-8"))
    files = {name: content["files"][name]["path"] for name in ("train", "dev")}
    return {**files, "selection": content["selection"]["selection"]}


def _tokenizer_files(checkpoint) -> list[Path]:
    """The checkpoint's local files but for its weights, gigabytes that this step never reads."""
    return [file for file in checkpoint.weight_files() if file.suffix != ".safetensors"]


if __name__ == "__main__":
    run_script(main)
