"""Tokenise prepared dialogues for one model, prompt format and augmentation, and write them."""

import hashlib
import json
import logging
import time
from pathlib import Path

from yoyak.config.frozen import EXAMPLE_KEYS, chosen
from yoyak.config.model_config import ModelConfig
from yoyak.config.section import canonical
from yoyak.config.study import Run, Study
from yoyak.data.dialogues import load_split
from yoyak.data.prepare import prepare_data
from yoyak.run.provenance import write_run_record
from yoyak.run.workspace import atomic_directory, atomic_write_json, read_json

log = logging.getLogger(__name__)


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
    config = config.prompted(prompt_format, augmentation)
    files = {split: data / f"{split}.csv" for split in ("train", "selection")}
    card = data / "data_card.json"
    rows = {split: load_split(file) for split, file in files.items()}
    raw = trained_on(card)
    # Heavy imports come last, so that mistakes in settings or data are reported at once.
    from yoyak.data.llm_dataset import create_llm_dataset
    from yoyak.data.preview import show_example
    from yoyak.data.prompts import prompt_frames, stop_token_ids
    from yoyak.models.lora_loader import LoRALoader

    loader = LoRALoader(config)
    tokenizer = loader.load_tokenizer()
    language, prompts = study.language, config.texts
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
            prompts=prompts,
            truncate_dialogue=config.dataset.truncate_dialogue,
        )
        for split in files
    }
    frames = prompt_frames(tokenizer, prompt_format, prompts, augmentation)
    texts = [[list(frame.prefix_ids), frame.head, frame.tail] for frame in frames]
    stops = stop_token_ids(tokenizer, prompt_format)
    statistics = {
        **{split: dataset.statistics for split, dataset in datasets.items()},
        "frames": [
            {
                "prefix": tokenizer.decode(frame.prefix_ids),
                **{key: getattr(frame, key) for key in ("head", "tail", "system")},
            }
            for frame in frames
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
            data=raw,
            checkpoint_commit=loader.source.commit(),
            template_hash=statistics["template_hash"],
            wall_seconds=round(time.perf_counter() - started, 3),
        )
    return json.loads(json.dumps(statistics))


def build_examples(study: Study, config: ModelConfig, run: Run, output: Path) -> Path:
    """By hand: prepare and tokenise the data as the workflow's two steps do."""
    data, examples = output / "data", output / "examples"
    card = prepare_data(study, data)
    for split, file in card["files"].items():
        log.info("%s: %s, %s rows", split, file["path"], f"{file['rows']:,}")
    for split, dropped in card["leaks"]["dropped_from_train"].items():
        if dropped:
            log.info("%s rows of train are also in %s and are not trained on", dropped, split)
    build_dataset(study, config, run.format, run.augmentation, data, examples)
    return examples


def trained_on(card: Path) -> dict[str, str]:
    """The raw files that train and dev came from, and which split chooses the best checkpoint."""
    content = read_json(card, "run prepare_data.py first")
    files = {name: content["files"][name]["path"] for name in ("train", "dev")}
    return {**files, "selection": content["selection"]["selection"]}


def _tokenizer_files(checkpoint) -> list[Path]:
    """The checkpoint's local files except its weights, which this step never reads."""
    return [file for file in checkpoint.weight_files() if file.suffix != ".safetensors"]
