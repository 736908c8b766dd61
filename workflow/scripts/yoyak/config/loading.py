"""Model files: YAML with `_base_` inheritance, merged and checked."""

import copy
import re
from pathlib import Path

import yaml

from yoyak.config.model_config import ModelConfig
from yoyak.config.section import did_you_mean
from yoyak.errors import PROJECT_ROOT, UserError, display, one_line

MODELS = PROJECT_ROOT / "config" / "models"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.]{0,99}")  # no separator: it becomes a folder's name

DEBUG_VALUES = {
    "training": {
        "epochs": 1,
        "max_steps": None,
        "batch_size": 2,
        "gradient_accumulation_steps": 1,
    },
    "tracking": {"wandb": False},
}


class SettingsLoader(yaml.SafeLoader):
    """Plain YAML, no key twice. Keys are texts, `2e-5` is a number, a date and `1:30` are none."""

    yaml_implicit_resolvers = {
        first: [pair for pair in pairs if not pair[0].endswith((":int", ":float", ":timestamp"))]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(
                problem="no aliases (*name): write the value", problem_mark=mark
            )
        return super().compose_node(parent, index)

    def construct_scalar(self, node):
        return super().construct_scalar(node).encode().decode()  # ValueError: half a surrogate pair

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            twice = f"key '{key.value}' stands twice" if str(key.value) in seen else None
            problem = twice if key.tag.endswith(":str") else "a key must be a text, in quotes"
            if problem:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


INT = re.compile(r"[-+]?(0|[1-9][0-9]*)$")
FLOAT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$|[-+]?\.inf$|\.nan$")
SettingsLoader.add_implicit_resolver("tag:yaml.org,2002:int", INT, list("-+0123456789"))
SettingsLoader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))


def load_yaml(path: Path) -> dict:
    """Read one YAML mapping; UserError with file and line where it is none."""
    shown = display(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), SettingsLoader)
    except UnicodeDecodeError as error:
        raise UserError(f"{shown}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{shown}: cannot be read ({error.strerror})") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1
        problem = one_line(f"{error.context or ''} {error.problem}")[:200]
        cure = " (indent with spaces, not tabs)" if "\\t" in problem else ""
        raise UserError(f"{shown}: not valid YAML: line {line}: {problem}{cure}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{shown}: not valid YAML: {one_line(error)[:200]}") from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise UserError(f"{shown}: holds {found}; must be a mapping of keys to values")
    return content


def load_config(experiment: str, debug: bool = False) -> ModelConfig:
    """The effective config of config/models/{experiment}.yaml, its bases merged in.

    Args:
        experiment: name of the model file, without its ending.
        debug: for a quick check: 1 epoch, batch 2, no tracking.

    Raises:
        UserError: unknown experiment, unknown key, bad value, `_base_` circle.
    """
    path = settings_file("model", MODELS, experiment)
    config = read_config(_merge_bases(path, ()), path)
    if config.experiment.name is None:
        config.experiment.name = experiment
    return overridden(config, DEBUG_VALUES, path) if debug else config


def settings_file(kind: str, folder: Path, name: str) -> Path:
    """The file {folder}/{name}.yaml; UserError listing those that exist when it is none of them."""
    path = folder / f"{name}.yaml"
    if not NAME.fullmatch(name) or not path.is_file():
        known = sorted(file.stem for file in folder.glob("*.yaml"))
        shown = one_line(name)[:80]
        raise UserError(
            f"{kind} '{shown}': no such file {display(folder)}/{shown}.yaml"
            f"{did_you_mean(shown, known)} (there are: {', '.join(known)})"
        )
    return path


def read_config(content: dict, source: Path | str) -> ModelConfig:
    """The config that a merged mapping holds.

    source: what an error names as the place of the fault.
    """
    config = ModelConfig.checked(content, source)
    if config.lora.use_qlora and not config.lora.use_lora:
        raise UserError(
            f"{display(source)}: lora.use_qlora needs lora.use_lora: 4-bit weights cannot be "
            "trained themselves; set use_qlora: false or use_lora: true"
        )
    return config


def overridden(config: ModelConfig, overrides: dict, source: Path | str) -> ModelConfig:
    """A copy with `overrides`, a mapping like a model file's, laid over it and checked."""
    return read_config(deep_merge(config.model_dump(), overrides), source)


def given(flags: dict) -> dict:
    """The flags of a command that were given: the others, which are None, leave it to the file."""
    sections = {
        section: {key: value for key, value in values.items() if value is not None}
        for section, values in flags.items()
    }
    return {section: values for section, values in sections.items() if values}


def deep_merge(base: dict, over: dict) -> dict:
    """`over` laid over `base`, mapping by mapping; neither is changed."""
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
        raise UserError(f"{display(path)}: `_base_` goes in a circle: {circle}")
    content = load_yaml(path)
    base = content.pop("_base_", None)
    if base is None:
        return content
    if not isinstance(base, str):
        raise UserError(f"{display(path)}: `_base_` must be the path of one YAML file")
    shown = one_line(base)[:200]
    try:
        base_path = (path.parent / base).resolve()
        is_file = base_path.is_file()
    except (OSError, ValueError):  # too long, or a NUL byte
        raise UserError(f"{display(path)}: `_base_: {shown}` is no path") from None
    if not base_path.is_relative_to(PROJECT_ROOT / "config"):
        raise UserError(f"{display(path)}: `_base_: {shown}` lies outside config/")
    if not is_file:
        raise UserError(f"{display(path)}: `_base_: {shown}` is no file")
    return deep_merge(_merge_bases(base_path, (*seen, path)), content)
