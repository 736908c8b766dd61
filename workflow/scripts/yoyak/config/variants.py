"""Variants of a study: the keys in which the trainings of one model differ."""

from typing import Any

from yoyak.config.loading import DEBUG_VALUES, deep_merge, overridden
from yoyak.config.model_config import NO_SCIENCE, ModelConfig
from yoyak.config.section import did_you_mean
from yoyak.config.study_settings import StudySettings, VariantSeeds
from yoyak.errors import UserError

DEFAULT = "default"  # of a study that names no variants
SEEDS = "seeds"
LEARNED = ("training", "lora")
BASE_WEIGHTS = ("lora.use_lora", "lora.use_qlora", "lora.double_quant")

Configs = dict[str, dict[str, ModelConfig]]  # variant → model → its effective config


def variant_configs(
    settings: StudySettings, models: dict[str, ModelConfig], source: str, debug: bool
) -> Configs:
    """The effective config of every model in each variant that the study names.

    Debug values stay above a variant's: it would not be small otherwise.
    Raises UserError with file, variant and key for a key that is none, a bad value, a key that
    zero-shot or the examples depend on, and two variants that are the same.
    """
    on_top = deep_merge(DEBUG_VALUES, settings.debug.overrides) if debug else {}
    found: Configs = {}
    for name, content in settings.variants.items():
        place = f"{source}: variants.{name}"
        VariantSeeds.checked({key: content[key] for key in content.keys() & {SEEDS}}, place)
        changes = {key: value for key, value in content.items() if key != SEEDS}
        found[name] = {}
        for model, config in models.items():
            changed = overridden(config, changes, place)
            _refuse_shared(changes, place)
            found[name][model] = overridden(changed, on_top, place) if on_top else changed
    if not debug:
        _refuse_twins(found, source)
    return found


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
    """Zero-shot summaries, examples and decoding are made once for all variants of a model."""
    for section, content in changes.items():
        for key in content if isinstance(content, dict) else ():
            name = f"{section}.{key}"
            if section in NO_SCIENCE or name in NO_SCIENCE:
                raise UserError(
                    f"{place}: {name} only says how it is run and makes no variant; put it under "
                    "overrides or into the model file"
                )
            if section not in LEARNED or name in BASE_WEIGHTS:
                raise UserError(
                    f"{place}: {name}: found in a variant, which may change what is learned "
                    f"(training.…, lora.… but {', '.join(BASE_WEIGHTS)}); all variants share the "
                    "model's examples, its zero-shot summaries and their decoding: write a model "
                    "file that begins `_base_:` and add it to models"
                )


def _refuse_twins(configs: Configs, source: str) -> None:
    """Raise UserError where two variants would train every model alike."""
    seen: dict[str, str] = {}
    for name, models in configs.items():
        parts = ((config.training, config.lora) for config in models.values())
        text = repr(list(parts))
        if text in seen:
            raise UserError(
                f"{source}: variants.{name}: is the same as variants.{seen[text]}; take one out "
                "or give it a key in which it differs"
            )
        seen[text] = name
