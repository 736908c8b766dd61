"""Model configs: YAML with `_base_` inheritance, merged, validated, in one plain dict."""

import copy
import json
import math
from pathlib import Path

import yaml

PROJECT_ROOT = Path(__file__).resolve().parents[4]
MODELS = PROJECT_ROOT / "config" / "models"
SCHEMAS = PROJECT_ROOT / "workflow" / "schemas"
MAX_YAML_BYTES = 1_000_000  # a settings file is a page or two; an alias bomb is not read

DEBUG_TRAINING = {
    "epochs": 1,
    "max_steps": None,
    "batch_size": 2,
    "gradient_accumulation_steps": 1,
}


class UserError(Exception):
    """A mistake in a config, in data or in a model; its text is one line that names the cure."""


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses what YAML would silently accept: duplicate keys and aliases."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1
            raise yaml.YAMLError(f"line {line}: aliases (*name) are not allowed; write the value")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.YAMLError(f"line {line}: a key must be a plain word")
            if key_node.value in seen:
                raise yaml.YAMLError(f"line {line}: key '{key_node.value}' stands twice")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> dict:
    """Read one YAML mapping.

    Raises UserError for a missing, oversized, non-UTF-8 or malformed file, naming file and line.
    """
    shown = display(path)
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{shown}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{shown}: cannot be read ({error.strerror})") from None
    if len(raw) > MAX_YAML_BYTES:
        raise UserError(f"{shown}: {len(raw):,} bytes are too many for a settings file")
    try:
        content = yaml.load(text, _StrictLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{shown}: not valid YAML: {_one_line(error)}") from None
    if not isinstance(content, dict):
        raise UserError(f"{shown}: must be a mapping of keys to values")
    return _scientific_numbers(content)


def load_config(experiment: str, debug: bool = False) -> dict:
    """The effective config of config/models/{experiment}.yaml, its bases merged in.

    Args:
        experiment: name of the model file, without its ending.
        debug: the mission's quick check: 1 epoch, batch 2, no tracking.

    Raises:
        UserError: unknown experiment, unknown key, bad value, `_base_` circle.
    """
    path = MODELS / f"{experiment}.yaml"
    if path.parent != MODELS or not path.is_file():
        known = ", ".join(sorted(file.stem for file in MODELS.glob("*.yaml")))
        raise UserError(
            f"model '{experiment}': no such file config/models/{experiment}.yaml "
            f"(there are: {known})"
        )
    return finish_config(_merge_bases(path, ()), path, debug=debug)


def finish_config(
    config: dict, source: Path, *, overrides: dict | None = None, debug=False
) -> dict:
    """Lay a study's `overrides` and the debug values over a merged config, and validate it."""
    config = deep_merge(config, overrides or {})
    validate(config, "model", source)
    if debug:
        config = deep_merge(config, {"training": DEBUG_TRAINING, "tracking": {"wandb": False}})
    model, lora = config["model"], config["lora"]
    if model["use_qlora"] and not model["use_lora"]:
        raise UserError(
            f"{display(source)}: model.use_qlora needs model.use_lora: 4-bit weights cannot be "
            "trained themselves; set use_qlora: false or use_lora: true"
        )
    if isinstance(lora["target_modules"], list):
        lora["target_modules"] = sorted(lora["target_modules"])
    return config


def deep_merge(base: dict, over: dict) -> dict:
    """`over` laid over `base`, mapping by mapping; neither is changed."""
    merged = copy.deepcopy(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = deep_merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def validate(content: dict, schema_name: str, source: Path) -> None:
    """Check against workflow/schemas/{schema_name}.schema.json and fill its defaults in.

    Raises UserError with file, key, what was found and what is allowed: the first fault only.
    """
    import jsonschema

    schema = json.loads((SCHEMAS / f"{schema_name}.schema.json").read_text(encoding="utf-8"))
    _fill_defaults(content, schema)
    validator = jsonschema.Draft202012Validator(schema)
    fault = jsonschema.exceptions.best_match(validator.iter_errors(content))
    if fault is not None:
        raise UserError(f"{display(source)}: {_describe(fault)}")


def canonical(content: object) -> str:
    """JSON with sorted keys: equal settings give equal text, however they were written."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def display(path: Path) -> str:
    """A path as a person would type it from the project's root."""
    path = Path(path)
    return str(path.relative_to(PROJECT_ROOT) if path.is_relative_to(PROJECT_ROOT) else path)


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
    base_path = (path.parent / base).resolve()
    if not base_path.is_relative_to(PROJECT_ROOT / "config"):
        raise UserError(f"{display(path)}: `_base_: {base}` lies outside config/")
    if not base_path.is_file():
        raise UserError(f"{display(path)}: `_base_: {base}` is no file")
    return deep_merge(_merge_bases(base_path, (*seen, path)), content)


def _scientific_numbers(node):
    """YAML 1.1 reads `2e-5` as text and lets `.nan` in: the one is a number, the other refused."""
    if isinstance(node, dict):
        return {key: _scientific_numbers(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_scientific_numbers(value) for value in node]
    if isinstance(node, float) and not math.isfinite(node):
        raise UserError(f"a number in the settings is {node}; write a finite one")
    if isinstance(node, str) and node[:1].isdigit() and "e" in node.lower():
        try:
            return float(node)
        except ValueError:
            return node
    return node


def _fill_defaults(content, schema) -> None:
    if not isinstance(content, dict):
        return
    for key, part in schema.get("properties", {}).items():
        if key not in content and "default" in part:
            content[key] = copy.deepcopy(part["default"])
        if key in content:
            _fill_defaults(content[key], part)


def _describe(fault) -> str:
    key = ".".join(str(part) for part in fault.absolute_path) or "(top level)"
    if fault.validator == "additionalProperties":
        allowed = sorted(fault.schema["properties"])
        unknown = sorted(set(fault.instance) - set(allowed))
        return f"unknown key '{_join(key, unknown[0])}' (allowed here: {', '.join(allowed)})"
    if fault.validator == "required":
        missing = [name for name in fault.validator_value if name not in fault.instance]
        return f"key '{_join(key, missing[0])}' is missing"
    found = f"{json.dumps(fault.instance, ensure_ascii=False)[:80]}"
    if fault.validator == "enum":
        allowed = ", ".join(json.dumps(value) for value in fault.validator_value)
        return f"{key}: found {found}, allowed are {allowed}"
    return f"{key}: found {found}: {_one_line(fault.message)[:200]}"


def _join(key: str, name: str) -> str:
    return name if key == "(top level)" else f"{key}.{name}"


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
