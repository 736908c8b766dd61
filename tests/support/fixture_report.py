"""Adds to `fixture_results` what plots, report and model cards read besides: tokenised examples.

    study, results = build_report_results(tmp_path)

Lengths are seeded draws, the text of the example prompt is made up; scores and tables are real.
Some predictions are replaced by text that would run in a careless page or spreadsheet.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
from fixture_results import build_results, fixture_study
from safetensors.numpy import save_file

from yoyak.config.model_config import TokenizerSettings
from yoyak.config.study import Study
from yoyak.config.study_settings import Report

EXAMPLES = 120  # of one dialogue each
HOSTILE = "</script><img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'"
HOSTILE_PROMPT = f"<|im_start|>user\n{HOSTILE}</script>다음 대화를 요약해주세요:\n"


def report_study(**options) -> Study:
    """`fixture_study` with a hostile note."""
    study = fixture_study(**options)
    study.settings.report = Report(note=f"Made-up predictions. {HOSTILE}")
    return study


def in_korean(study: Study) -> Study:
    """The study with its report, question and note in Korean."""
    settings = study.settings.model_copy(deep=True)
    settings.report = Report(language="ko", note="지은 예측이다.")
    settings.description = "미세조정은 얼마나 도움이 되는가?"
    return dataclasses.replace(study, settings=settings)


def build_report_results(folder: Path, study: Study | None = None, **options) -> tuple:
    """A study and its results folder with everything that plot.py and report.py read."""
    study = study or report_study()
    results = build_results(Path(folder) / study.name, study, **options)
    generator = np.random.default_rng(42)
    for model in study.models:
        for form in study.formats:
            for augmentation in study.augmentations:
                place = results / "examples" / model / form / augmentation
                write_examples(place, study.models[model].tokenizer, augmentation, generator)
    for run in study.runs():
        make_hostile(results / run.folder / "predictions" / "dev.jsonl")
        if run.trained:
            record = json.loads((results / run.folder / "run.json").read_text(encoding="utf-8"))
            record["settings"] = study.models[run.model].model_dump()
            (results / run.folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return study, results


def make_hostile(path: Path) -> None:
    """Replace every fifth prediction; scores stay those of the old text."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for place in range(0, len(lines), 5):
        row = json.loads(lines[place])
        row["prediction"] = f'=HYPERLINK("http://example.invalid") {HOSTILE}'
        lines[place] = json.dumps(row, ensure_ascii=False)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_examples(folder: Path, limits: TokenizerSettings, augmentation: str, generator) -> None:
    """train.safetensors and statistics.json as build_dataset.py writes them."""
    folder.mkdir(parents=True)
    count = EXAMPLES * (5 if augmentation == "templates" else 1)
    prompts = generator.normal(0.5 * limits.encoder_max_len, 90, count).clip(
        40, limits.encoder_max_len
    )
    answers = generator.normal(0.4 * limits.decoder_max_len, 8, count).clip(4)
    lengths = prompts.astype(np.int64) + answers.astype(np.int64)
    tensors = {
        "input_ids": np.zeros(lengths.sum(), dtype=np.int32),
        "offsets": np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        "prompt_lengths": prompts.astype(np.int32),
        "dialogue_index": np.zeros(count, dtype=np.int32),
    }
    save_file(tensors, folder / "train.safetensors")
    shortened = int((prompts == limits.encoder_max_len).sum())
    example = {
        "fname": "train_0",
        "prompt": HOSTILE_PROMPT,
        "answer": "#Person1#은 예약을 확인한다.<|im_end|>",
        "prompt_tokens": 41,
        "answer_tokens": 17,
    }
    statistics = {
        "train": {"examples": count, "prompts_shortened": shortened},
        "example": example,
        "frames": [{"prefix": "", "head": "### Instruction:\n", "tail": "\n\n### Response:\n"}],
        "template_hash": "0" * 64,
        "stop_tokens": {"2": "<|im_end|>"},
    }
    (folder / "statistics.json").write_text(json.dumps(statistics), encoding="utf-8")
