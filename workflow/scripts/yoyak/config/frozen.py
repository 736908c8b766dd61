"""The settings that a step depends on, frozen as text that each job is given when it is planned.

A job reads these and nothing else from config/, so editing a file while a study runs changes no job
of that run. Equal text means equal results, so Snakemake reruns a step when its text changes.
"""

import json
from typing import Any, TypeVar

from yoyak.config.loading import deep_merge
from yoyak.config.model_config import NO_SCIENCE, ModelConfig
from yoyak.config.section import Section, canonical, section_of
from yoyak.config.study import Run, Study, load_study
from yoyak.config.study_settings import StudySettings
from yoyak.config.variants import BASE_WEIGHTS, SEEDS
from yoyak.errors import UserError

GRID = ("models", "formats", "augmentations", "few_shot", "seeds", "variants")
CHECKPOINT = ("model.checkpoint", "model.revision", "model.chat_template")

Part = TypeVar("Part", bound=Section)
# Separate constants, so that the code digests of these two steps do not include other steps' keys.
EXAMPLE_KEYS = (*CHECKPOINT, "tokenizer", "dataset", "prompts")
TRAINING_KEYS = ("model", "lora", "training")

# For each step: the study's keys that it reads, and its models' keys.
STEPS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "prepare_data": (("language", "data"), ()),
    "build_dataset": (("language",), EXAMPLE_KEYS),
    "train": ((), TRAINING_KEYS),
    "generate": (
        (),
        ("model", *BASE_WEIGHTS, "tokenizer", "dataset", "prompts", "generation"),
    ),
    "floors": (("language", "metric"), ()),
    "score": (("language", "metric"), ()),
    "compare": (("metric", "report.quoted", *GRID), ("resources",)),
    "plot": (
        ("metric", "report.language", "data.selection", "data.selection_seed", *GRID),
        ("tokenizer",),
    ),
    "report": (
        ("description", "language", "data", "metric", "report", *GRID),
        ("model", "lora", "tokenizer", "dataset", "training", "generation"),
    ),
    "model_card": (
        ("description", "language", "data", "metric", "report.note", "report.language"),
        ("experiment.tags",),
    ),
}
RUN_ON_DEVICES = ("train", "generate")  # their execution keys are read when the job starts


def freeze(
    study: Study,
    step: str,
    model: str | None = None,
    variant: str | None = None,
    prompt: tuple[str, str, int] | None = None,
) -> str:
    """Canonical text of all settings that `step` depends on; `model`: the step's only model.

    variant: of that model; None for a step that is the same for all of them.
    prompt: format, augmentation and few-shot examples of a step that uses no other prompts.
    """
    of_study, of_model = STEPS[step]
    content: dict[str, Any] = {
        "study": study.source,
        "debug": study.debug,
        "step": step,
        "settings": chosen(study.settings, of_study),
    }
    if "variants" in of_study:  # in their order, which JSON's sorted keys would lose
        shown = step == "report"  # the others depend on names, seeds and decoding alone
        content["settings"]["variants"] = [
            [
                name,
                keys if shown else {key: keys[key] for key in keys if key in (SEEDS, "generation")},
            ]
            for name, keys in study.settings.variants.items()
        ]
    if of_model:
        models = {model: study.model(model, variant)} if model else study.models
        if prompt:
            models = {name: config.prompted(*prompt) for name, config in models.items()}
        content["models"] = {name: chosen(config, of_model) for name, config in models.items()}
    return canonical(content)


def thaw(text: str) -> Study:
    """The study from `freeze`'s text: it has only what its step depends on.

    Raises UserError if the text was not made by `freeze`.
    """
    try:
        content = json.loads(text)
        if "variants" in content["settings"]:
            content["settings"]["variants"] = dict(content["settings"]["variants"])
        settings = _part(StudySettings, content["settings"])
        models = content.get("models", {})
        order = content["settings"].get("models", models)
        configs = {name: _part(ModelConfig, models[name]) for name in order if name in models}
        study = Study(content["study"], content["debug"], settings, configs)
        step = content["step"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(
            "--settings: not what Snakemake passes; name the study with --study instead"
        ) from None
    if step in RUN_ON_DEVICES:
        _add_execution(study)
    return study


def chosen(settings: Section, keys: tuple[str, ...]) -> dict:
    """These keys and sections of some settings, except keys that decide no result."""
    content = settings.model_dump()
    found: dict = {}
    for key in keys:
        section, _, name = key.partition(".")
        value = content[section]
        if name:
            value = {name: value[name]}
        elif isinstance(value, dict):
            value = {name: value[name] for name in value if f"{section}.{name}" not in NO_SCIENCE}
        found = deep_merge(found, {section: value})
    return found


def add_sections(config: ModelConfig, content: dict) -> None:
    """Add sections that an earlier step recorded to a config that lacks them."""
    for name in content.keys() & ModelConfig.model_fields.keys() - config.__dict__.keys():
        section: Any = section_of(ModelConfig.model_fields[name].annotation)
        config.__dict__[name] = _part(section, content[name])


def training_science(config: ModelConfig) -> dict:
    """The settings that decide what a training learns."""
    return chosen(config, TRAINING_KEYS)


def same_training(study: Study, run: Run) -> Run:
    """The first training of a study from which this one differs in its decoding alone, or itself.

    Equal examples, settings of the training, format, condition and seed make equal adapters.
    """

    def learned(other: Run) -> list[object]:
        config = study.model(other.model, other.variant)
        cell = [other.format, other.condition, other.seed]
        return [cell, chosen(config, EXAMPLE_KEYS), chosen(config, TRAINING_KEYS)]

    def decoded(other: Run) -> Section:
        return study.model(other.model, other.variant).generation

    return next(
        other
        for other in study.trainings()
        if other == run or (learned(other) == learned(run) and decoded(other) != decoded(run))
    )


def _part(kind: type[Part], content: dict) -> Part:
    """Settings with these keys only: reading any other key raises AttributeError."""
    part: Any = kind.model_construct()
    part.__dict__.clear()
    for key, value in content.items():
        if key not in kind.model_fields and part.__pydantic_extra__ is not None:
            part.__pydantic_extra__[key] = value  # of PEFT
            continue
        section: Any = section_of(kind.model_fields[key].annotation)
        is_section = section is not None and isinstance(value, dict)
        part.__dict__[key] = _part(section, value) if is_section else value
    return part


def _add_execution(study: Study) -> None:
    """Add the execution settings, as the files in config/ say now."""
    now = load_study(study.source, debug=study.debug)
    for name, config in study.models.items():
        current = now.model(name)
        for key in NO_SCIENCE:
            section, _, part = key.partition(".")
            if not part:
                config.__dict__[section] = getattr(current, section)
            elif section in config.__dict__:
                getattr(config, section).__dict__[part] = getattr(getattr(current, section), part)
