"""Builds a whole, consistent results/{study}/ folder without training anything.

    from fixture_results import build_results, fixture_study
    study = fixture_study()     # 2 models × 2 formats × {none, templates} × seed 42
    results = build_results(tmp_path / "results" / study.name, study)

What is made up: the dialogues (`fixture_dialogues.py`, 24 with three references, groups seen and
unseen; two hold `<script>` and `=HYPERLINK`), predictions (zero-shot copies first turns and now and
then runs on, is empty or hits the limit; a trained cell repeats a reference with some words lost),
training logs and run.json of train and generate. What is real: scores/, floors/ and tables/, made
by the scripts' own functions from the above, and submission/.

`build_results(folder, study, rows=…)` takes any `Study`; `load_study("embedded")` works as well, so
a script that is called with --study embedded finds every cell that it expects. Everything is
seeded. Metric settings come from the study: `fixture_study(resamples=…, tokenizers=…, metrics=…)`.
Morphemes need kiwipiepy; 8 trained cells and 4 zero-shot ones take 5–10 s to build: share them
(a module- or session-scoped fixture).
"""

import csv
import json
import random
from datetime import UTC, datetime
from pathlib import Path

import compare
import floors
import score
import submission
from fixture_dialogues import DIALOGUES

from yoyak.config.loading import load_config
from yoyak.config.study import Run, Study
from yoyak.config.study_settings import StudySettings
from yoyak.data.dialogues import Dialogue, to_csv

LOG_COLUMNS = ("step", "epoch", "loss", "eval_loss", "learning_rate", "grad_norm")
LOG_COLUMNS += ("tokens_per_second", "supervised_tokens")
STEPS = 60


def fixture_study(
    models=("tiny_llama", "tiny_qwen3"),
    formats=("instruction", "chat"),
    augmentations=("none", "templates"),
    seeds=(42,),
    variants=None,
    tokenizers=("morphemes", "content_morphemes", "characters", "words"),
    references="mean",
    resamples=1000,
    few_shot=0,
    metrics=("rouge", "chrf"),
    encoder=None,
) -> Study:
    """A study with settings of its own, under the name "fixture", that no file describes."""
    settings = {
        "description": "How much does fine-tuning help? (made-up predictions)",
        "language": "ko",
        "data": {"train": "train.csv", "dev": "dev.csv", "test": "test.csv"},
        "models": list(models),
        "formats": list(formats),
        "augmentations": list(augmentations),
        "few_shot": few_shot,
        "seeds": list(seeds),
        "variants": variants or {},
        "overrides": {},
        "metric": {
            "metrics": list(metrics),
            "primary": tokenizers[0],
            "tokenizers": list(tokenizers),
            "bertscore": {"checkpoint": encoder and str(encoder)},
            "references": references,
            "resamples": resamples,
            "seed": 42,
        },
        "report": {"samples": 20, "note": ""},
    }
    configs = {model: load_config(model) for model in models}
    settings = StudySettings.checked(settings, "fixture.yaml")
    return Study(source="fixture", debug=False, settings=settings, models=configs)


def fixture_dialogues(rows: int = len(DIALOGUES), references: int = 3) -> list[Dialogue]:
    """The first `rows` dialogues (repeated under new names beyond 24) with 1 to 3 references."""
    dialogues = []
    for index in range(rows):
        group, turns, summaries = DIALOGUES[index % len(DIALOGUES)]
        text = "\n".join(f"#Person{1 + turn % 2}#: {said}" for turn, said in enumerate(turns))
        topic = f"주제 {index % len(DIALOGUES) + 1}"
        dialogues.append(Dialogue(f"dev_{index}", text, summaries[:references], topic, group))
    return dialogues


def build_results(
    folder: Path, study: Study, rows: int = len(DIALOGUES), references: int = 3
) -> Path:
    """Write data, runs, predictions, scores, tables and submissions; returns `folder`."""
    folder = Path(folder)
    dialogues = fixture_dialogues(rows, references)
    write_data(folder / "data", dialogues)
    for number, run in enumerate(study.runs()):
        place = folder / run.folder
        write_run(run, place, dialogues, number)
        predictions = place / "predictions"
        score.score(study.settings.metric, "ko", predictions, folder / "data", place / "scores")
        output = folder / "submission" / f"{run.name}.csv"
        submission.main(["--predictions", str(predictions), "--output", str(output)])
    metric = study.settings.metric
    floors.score_floors(metric, study.language, folder / "data", folder / "floors")
    compare.compare(study, folder, folder / "tables")
    return folder


def write_data(folder: Path, dialogues: list[Dialogue]) -> None:
    """data/: all splits hold the same dialogues, test without references."""
    folder.mkdir(parents=True)
    for split in ("train", "selection", "dev"):
        (folder / f"{split}.csv").write_text(to_csv(dialogues), encoding="utf-8")
    with open(folder / "test.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["fname", "dialogue"])
        writer.writerows([row.fname.replace("dev", "test"), row.dialogue] for row in dialogues)
    _write_json(folder / "data_card.json", {"splits": {"dev": {"rows": len(dialogues)}}})
    _write_json(folder / "run.json", _record("prepare_data", None, seed=42))


def write_run(run: Run, place: Path, dialogues: list[Dialogue], number: int) -> None:
    """Predictions of one run and, if it was trained, its log and run.json."""
    generator = random.Random(f"{run.record()}")
    kept = 0.6 + 0.03 * (number % 4) if run.trained else 0.0
    for split in ("dev", "test"):
        rows = [_prediction(row, split, generator, kept) for row in dialogues]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (place / "predictions").mkdir(parents=True, exist_ok=True)
        (place / "predictions" / f"{split}.jsonl").write_text(text, encoding="utf-8")
    generated = _record(
        "generate", run.record(), new_tokens=40 * len(dialogues), rows=len(dialogues)
    )
    generated["decoding"] = {"num_beams": 1, "do_sample": False, "max_new_tokens": 200}
    _write_json(place / "predictions" / "run.json", generated)
    if run.trained:
        (place / "final_model").mkdir()
        _write_training_log(place / "training_log.csv", generator)
        losses = {"train_loss": 1.2, "best_eval_loss": 1.4, "best_step": STEPS, "loss_fall": 0.8}
        counts = {"steps": STEPS, "supervised_tokens": 40_000 + number, "examples": 900}
        counts["learning_rate"] = 1e-3
        extras = {**losses, **counts, "resumed_from_step": None, "plan": {}, "seed": run.seed}
        _write_json(place / "run.json", _record("train", run.record(), **extras))


def _prediction(row: Dialogue, split: str, generator: random.Random, kept: float) -> dict:
    if kept:
        words = generator.choice(row.summaries).split()
        text = " ".join(word for word in words if generator.random() < kept + 0.2)
    else:
        said = row.turns[: generator.choice((1, 2, 2))]
        text = generator.choice((" ".join(said), " ".join(said * 4), said[0], ""))
    return {
        "fname": row.fname.replace("dev", split),
        "prediction": text,
        "prompt_tokens": 60 + len(row.dialogue),
        "new_tokens": max(1, len(text)),
        "finish": "length" if len(text) > 120 else "stop",
        "dialogue_shortened": len(row.dialogue) > 90,
    }


def _write_training_log(path: Path, generator: random.Random) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, LOG_COLUMNS, lineterminator="\n")
        writer.writeheader()
        for step in range(5, STEPS + 1, 5):
            loss = 4.0 * 0.97**step + generator.uniform(0, 0.05)
            row = {"step": step, "epoch": 3 * step / STEPS, "loss": round(loss, 4)}
            row |= {"learning_rate": 1e-3, "grad_norm": 0.7, "tokens_per_second": 5000}
            row["supervised_tokens"] = 650 * step
            if step % 20 == 0:
                row["eval_loss"] = round(loss + 0.2, 4)
            writer.writerow(row)


def _record(step: str, cell: dict | None, **extras) -> dict:
    """A run.json of the shape that `yoyak.run.provenance.write_run_record` writes."""
    return {
        "step": step,
        "command": f"python workflow/scripts/{step}.py …",
        "created": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).isoformat(),
        "git": {"commit": "0" * 40, "dirty": False},
        "python": "3.11.0",
        "packages": {"torch": "2.13.0", "transformers": "5.24.0", "kiwipiepy": "0.24.1"},
        "hardware": {"cpu": "Fixture CPU", "cores": 2, "memory_gb": 8.0, "gpu": None},
        "settings": {},
        "execution": {"device": "cpu"},
        "inputs": {},
        "wall_seconds": 12.5,
        "tokens_per_second": 5123.4,
        "peak_memory_gb": 0.61,
        **({"run": cell} if cell else {}),
        **extras,
    }


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
