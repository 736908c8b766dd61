"""Variants of a study: the keys in which the trainings of one model differ."""

from typing import Any

from yoyak.config.loading import DEBUG_VALUES, deep_merge, overridden
from yoyak.config.model_config import NO_SCIENCE, ModelConfig
from yoyak.config.section import did_you_mean
from yoyak.config.study_settings import StudySettings, VariantSeeds
from yoyak.errors import UserError

DEFAULT = "default"  # of a study that names no variants
SEEDS = "seeds"
CHANGEABLE = ("training", "lora", "generation")
BASE_WEIGHTS = ("lora.use_lora", "lora.use_qlora", "lora.double_quant")


def varied(
    config: ModelConfig, settings: StudySettings, variant: str, debug: bool, source: str = "variant"
) -> ModelConfig:
    """A model's config as a variant of the study has it.

    Debug values stay above a variant's: it would not be small otherwise.
    source: what an error names as the place of the fault.
    """
    content = settings.variants.get(variant, {})
    changes = {key: value for key, value in content.items() if key != SEEDS}
    if not changes:
        return config
    config = overridden(config, changes, source)
    return overridden(config, debug_values(settings), source) if debug else config


def debug_values(settings: StudySettings) -> dict:
    """Keys of a model file that `debug=true` sets: the usual ones, then the study's own."""
    return deep_merge(DEBUG_VALUES, settings.debug.overrides)


def check_variants(
    settings: StudySettings, models: dict[str, ModelConfig], source: str, debug: bool
) -> None:
    """Raise UserError with file, variant and key for the first fault of a variant.

    That is a key that is none, a bad value, a key that zero-shot or the examples depend on, and
    two variants that train every model alike (which under debug they may).
    """
    seen: dict[str, str] = {}
    for name, content in settings.variants.items():
        place = f"{source}: variants.{name}"
        VariantSeeds.checked({key: content[key] for key in content.keys() & {SEEDS}}, place)
        configs = [varied(config, settings, name, debug, place) for config in models.values()]
        _refuse_shared(content, place)
        learned = repr([(c.training, c.lora, c.generation) for c in configs])
        if learned in seen and not debug:
            raise UserError(
                f"{place}: is the same as variants.{seen[learned]}; take one out or give it a key "
                "in which it differs"
            )
        seen[learned] = name


def chosen_variants(settings: StudySettings, wanted: list[str], source: str) -> StudySettings:
    """The study with these of its variants alone, in its own order; UserError for others."""
    known = list(settings.variants) or [DEFAULT]
    for name in wanted:
        if name not in known:
            raise UserError(
                f"variants: the study {source} has no '{name}'{did_you_mean(name, known)} (it has: "
                f"{', '.join(known)})"
            )
    kept = {name: settings.variants[name] for name in settings.variants if name in wanted}
    return settings.model_copy(update={"variants": kept})


def without_seeds(settings: StudySettings) -> dict[str, dict[str, Any]]:
    """The variants with the study's seeds in place of their own."""
    return {
        name: {key: value for key, value in content.items() if key != SEEDS}
        for name, content in settings.variants.items()
    }


def _refuse_shared(changes: dict, place: str) -> None:
    """Zero-shot summaries and examples are made once for all variants of a model."""
    for section, content in changes.items():
        if section == SEEDS:
            continue
        named = isinstance(content, dict)
        for name in [f"{section}.{key}" for key in content] if named else [section]:
            if section in NO_SCIENCE or name in NO_SCIENCE:
                raise UserError(
                    f"{place}: {name} only says how it is run and makes no variant; put it under "
                    "overrides or into the model file"
                )
            if section not in CHANGEABLE or name in BASE_WEIGHTS:
                raise UserError(
                    f"{place}: {name}: found in a variant, which may change what is learned "
                    f"(training.…, lora.… but {', '.join(BASE_WEIGHTS)}) and how its summaries are "
                    "decoded (generation.…); all variants share the model's examples and zero-shot "
                    "summaries: write a model file that begins `_base_:` and add it to models"
                )
