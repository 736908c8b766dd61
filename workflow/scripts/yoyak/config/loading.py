"""Model files: YAML with `_base_` inheritance, merged and checked."""

import copy
import unicodedata
from pathlib import Path

from yoyak.config.fields import name_fault
from yoyak.config.model_config import GenerationSettings, ModelConfig
from yoyak.config.peft_keys import with_peft_keys
from yoyak.config.section import did_you_mean
from yoyak.config.yaml_reader import load_yaml
from yoyak.errors import PROJECT_ROOT, UserError, display, one_line

CONFIG = PROJECT_ROOT / "config"
FOLDERS = {"model": "models", "study": "studies"}

DEBUG_VALUES = {
    "training": {
        "epochs": 1,
        "max_steps": None,
        "batch_size": 2,
        "gradient_accumulation_steps": 1,
    },
    "tracking": {"report_to": []},
}


def load_config(experiment: str, debug: bool = False) -> ModelConfig:
    """The effective config of config/models/{experiment}.yaml, merged with its bases.

    Args:
        experiment: name of the model file, without .yaml.
        debug: for a quick check: 1 epoch, batch 2, no tracking.

    Raises:
        UserError: unknown experiment, unknown key, bad value, `_base_` circle.
    """
    path = settings_file("model", experiment)
    config = read_config(_merge_bases(path, ()), path)
    if config.experiment.name is None:
        config.experiment.name = experiment
    return overridden(config, DEBUG_VALUES, path) if debug else config


def settings_file(kind: str, name: str) -> Path:
    """A file in config/models or config/studies, in the working directory or else in the project.

    Raises UserError for an invalid name, and for a missing file (listing those that exist).
    """
    fault = name_fault(name)
    if fault:
        raise UserError(f"{kind} '{one_line(name)[:80]}': {fault}")
    folders = [root / FOLDERS[kind] for root in (Path.cwd() / "config", CONFIG)]
    known = {
        unicodedata.normalize("NFC", file.stem): file
        for folder in reversed(folders)
        for file in sorted(folder.glob("*.yaml"))
    }
    found = known.get(unicodedata.normalize("NFC", name))
    if found is None:
        raise UserError(
            f"{kind} '{name}': no such file {display(folders[-1])}/{name}.yaml"
            f"{did_you_mean(name, list(known))} (there are: {', '.join(sorted(known))})"
        )
    return found


def read_config(content: dict, source: Path | str) -> ModelConfig:
    """The config that a merged mapping holds.

    source: the place that an error message names.
    """
    config = ModelConfig.checked(content, source)
    config.lora = with_peft_keys(config.lora, source)
    if config.lora.use_qlora and not config.lora.use_lora:
        raise UserError(
            f"{display(source)}: lora.use_qlora needs lora.use_lora: 4-bit weights cannot be "
            "trained themselves; set use_qlora: false or use_lora: true"
        )
    if config.training.learning_rate == "auto" and not config.lora.use_lora:
        raise UserError(
            f"{display(source)}: training.learning_rate: auto is a rate for LoRA; write a number, "
            "such as 2e-5, or set lora.use_lora: true"
        )
    if config.training.loraplus_lr_ratio and not config.lora.use_lora:
        raise UserError(
            f"{display(source)}: training.loraplus_lr_ratio is a ratio of rates of LoRA's two "
            "factors; set it to null, or lora.use_lora: true"
        )
    check_decoding(config.generation, source)
    return config


def check_decoding(generation: GenerationSettings, source: Path | str) -> None:
    """UserError where a key of the decoding could change nothing."""
    if generation.length_penalty != 1 and generation.num_beams == 1:
        raise UserError(
            f"{display(source)}: generation.length_penalty: found {generation.length_penalty}, but "
            "without beams there is one summary and nothing to choose from; set "
            "generation.num_beams to 2 or more, or length_penalty to 1.0"
        )


def overridden(config: ModelConfig, overrides: dict, source: Path | str) -> ModelConfig:
    """A checked copy with `overrides` (a mapping like a model file's) merged over it."""
    return read_config(deep_merge(config.model_dump(), overrides), source)


def chosen_adapters(
    config: ModelConfig,
    use_lora: bool | None = None,
    use_qlora: bool | None = None,
    source: str = "the arguments",
) -> ModelConfig:
    """The config with these choices applied; without adapters there are no 4-bit weights either.

    use_lora, use_qlora: None leaves it to the config. source: as `read_config` has it.
    """
    if use_lora is False and use_qlora is None:
        use_qlora = False
    flags = given({"lora": {"use_lora": use_lora, "use_qlora": use_qlora}})
    return overridden(config, flags, source) if flags else config


def given(flags: dict) -> dict:
    """Only the flags that were given; None leaves the choice to the file."""
    sections = {
        section: {key: value for key, value in values.items() if value is not None}
        for section, values in flags.items()
    }
    return {section: values for section, values in sections.items() if values}


def deep_merge(base: dict, over: dict) -> dict:
    """`over` merged over `base`, mapping by mapping; neither is changed."""
    merged = copy.deepcopy(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = deep_merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _merge_bases(path: Path, seen: tuple[Path, ...]) -> dict:
    if path in seen:
        circle = " → ".join(display(file) for file in (*seen[seen.index(path) :], path))
        raise UserError(f"{display(path)}: circular `_base_`: {circle}")
    content = load_yaml(path)
    base = content.pop("_base_", None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise UserError(f"{display(path)}: `_base_` must be the path of one YAML file")
    shown = one_line(base)[:200]
    here = path.parent.parent  # config/, of the working directory or of the project
    try:
        places = [(root / path.parent.name / base).resolve() for root in (here, CONFIG)]
        base_path = next((place for place in places if place.is_file()), None)
    except (OSError, ValueError):  # too long, or a NUL byte
        raise UserError(f"{display(path)}: `_base_: {shown}` is no path") from None
    if not any(places[0].is_relative_to(root.resolve()) for root in (here, CONFIG)):
        raise UserError(f"{display(path)}: `_base_: {shown}` lies outside config/")
    if base_path is None:
        raise UserError(f"{display(path)}: `_base_: {shown}` is not a file")
    return deep_merge(_merge_bases(base_path, (*seen, path)), content)
