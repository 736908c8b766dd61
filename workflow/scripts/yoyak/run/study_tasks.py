"""The GPU jobs of a study as tasks to schedule, with measured times where the study has some."""

import csv
import json
from pathlib import Path

from yoyak.config.study import Study
from yoyak.run.schedule import Task


def study_tasks(
    study: Study,
    training: dict[str, float],
    generation: dict[str, float],
    card: str | None = None,
) -> list[Task]:
    """Every training, the generation that follows each, and the zero-shot generations.

    Args:
        training: predicted seconds by the run's folder, generation: by model. What is in neither is
            left out: it could not be planned.
        card: count only times measured on a GPU whose name holds this text; None: all of them.
    """
    tasks = []
    for model in study.models:
        for prompt_format in study.formats if model in generation else ():
            run = f"zero_shot/{model}/{prompt_format}"
            name = f"{model}-{prompt_format}-zero_shot"
            tasks.append(_generation(study, run, name, generation[model], card))
    for run in study.trainings():
        if run.folder not in training:
            continue
        name = run.name
        gpus = study.models[run.model].execution.devices
        seconds = measured_seconds(study.results, run.folder, "train", name, card, gpus)
        train = Task(
            f"train {name}", seconds or training[run.folder], gpus, measured=seconds is not None
        )
        after = _generation(study, run.folder, name, generation[run.model], card, (train.name,))
        tasks += [train, after]
    return tasks


def _generation(study, run, name, predicted, card, after=()) -> Task:
    seconds = measured_seconds(study.results, f"{run}/predictions", "generate", name, card)
    return Task(f"generate {name}", seconds or predicted, after=after, measured=seconds is not None)


def measured_seconds(
    results: Path, folder: str, rule: str, name: str, card: str | None, gpus: int = 1
) -> float | None:
    """Seconds of a finished job on `gpus` devices, start included; None where there are none.

    run.json counts interrupted attempts too, Snakemake's benchmark the last one from its start: the
    larger is nearer. A training measured on another number of devices is scaled.
    """
    try:
        record = json.loads((results / folder / "run.json").read_text(encoding="utf-8"))
        seconds = float(record["wall_seconds"])
        gpu = (record["hardware"]["gpu"] or {}).get("name", "CPU")
        devices = record.get("execution", {}).get("devices", 1)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if card is not None and card not in gpu:
        return None
    seconds = max([seconds, *_benchmark(results / "benchmarks" / rule / f"{name}.tsv")])
    return seconds * devices / gpus if seconds > 0 else None


def _benchmark(file: Path) -> list[float]:
    try:
        rows = csv.DictReader(file.read_text(encoding="utf-8").splitlines(), delimiter="\t")
        return [float(row["s"]) for row in rows]
    except (OSError, KeyError, TypeError, ValueError):
        return []
