"""Model configs: YAML with `_base_` inheritance, merged, validated, in one plain dict."""

import copy
import difflib
import json
import re
from pathlib import Path

from yoyak.settings.strict_yaml import PROJECT_ROOT, UserError, display, load_yaml, one_line

MODELS = PROJECT_ROOT / "config" / "models"
SCHEMAS = PROJECT_ROOT / "workflow" / "schemas"
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


def load_config(experiment: str, debug: bool = False) -> dict:
    """The effective config of config/models/{experiment}.yaml, its bases merged in.

    Args:
        experiment: name of the model file, without its ending.
        debug: for a quick check: 1 epoch, batch 2, no tracking.

    Raises:
        UserError: unknown experiment, unknown key, bad value, `_base_` circle.
    """
    path = settings_file("model", MODELS, experiment)
    return finish_config(_merge_bases(path, ()), path, debug=debug)


def settings_file(kind: str, folder: Path, name: str) -> Path:
    """The file {folder}/{name}.yaml; UserError listing those that exist when it is none of them."""
    path = folder / f"{name}.yaml"
    if not NAME.fullmatch(name) or not path.is_file():
        known = sorted(file.stem for file in folder.glob("*.yaml"))
        shown = one_line(name)[:80]
        raise UserError(
            f"{kind} '{shown}': no such file {display(folder)}/{shown}.yaml"
            f"{_suggestion(shown, known)} (there are: {', '.join(known)})"
        )
    return path


def finish_config(
    config: dict, source: Path | str, *, overrides: dict | None = None, debug: bool = False
) -> dict:
    """Lay a study's `overrides` and the debug values over a merged config, and validate it.

    source: what an error names as the place of the fault.
    """
    config = deep_merge(config, overrides or {})
    validate(config, "model", source)
    if debug:
        config = deep_merge(config, DEBUG_VALUES)
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


def validate(content: dict, schema_name: str, source: Path | str) -> None:
    """Check against workflow/schemas/{schema_name}.schema.json and fill its defaults in.

    A whole number written as 16.0 becomes 16 where the schema wants an integer.
    Raises UserError with file, key, what was found and what is allowed: the first fault only.
    """
    import jsonschema

    schema = json.loads((SCHEMAS / f"{schema_name}.schema.json").read_text(encoding="utf-8"))
    _fill_defaults(content, schema)
    strict = jsonschema.validators.extend(
        jsonschema.Draft202012Validator, {"pattern": _whole_pattern}
    )
    faults = list(strict(schema).iter_errors(content))
    if faults:  # a mistyped key first: the others may only follow from it
        worst = min(
            faults, key=lambda fault: (fault.validator != "additionalProperties", fault.json_path)
        )
        raise UserError(f"{display(source)}: {_describe(worst)}")
    _whole_numbers(content, schema)


def canonical(content: object) -> str:
    """JSON with sorted keys and 32.0 as 32: equal settings give equal text, however written."""
    content = _plain_numbers(content)
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


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


def _whole_pattern(validator, pattern: str, text: object, schema: dict):
    """A pattern holds for the whole text: `$` alone would let a line break at its end pass."""
    import jsonschema

    if isinstance(text, str) and not re.fullmatch(pattern, text):
        yield jsonschema.ValidationError("does not match")


def _fill_defaults(content, schema) -> None:
    if not isinstance(content, dict):
        return
    for key, part in schema.get("properties", {}).items():
        if key not in content and "default" in part:
            content[key] = copy.deepcopy(part["default"])
        if key in content:
            _fill_defaults(content[key], part)


def _whole_numbers(content: dict, schema: dict) -> None:
    """JSON schema lets 16.0 pass as an integer; a tensor's size does not."""
    for key, part in schema.get("properties", {}).items():
        value = content.get(key)
        if isinstance(value, dict):
            _whole_numbers(value, part)
        elif isinstance(value, float) and "integer" in json.dumps(part):
            content[key] = int(value)
        elif isinstance(value, list):
            content[key] = [_plain_numbers(item) for item in value]


def _plain_numbers(node):
    if isinstance(node, dict):
        return {key: _plain_numbers(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_plain_numbers(value) for value in node]
    return int(node) if isinstance(node, float) and node.is_integer() else node


def _describe(fault) -> str:
    """One fault of the schema's as: key, what was found, what is allowed."""
    key = ".".join(str(part) for part in fault.absolute_path) or "(top level)"
    if fault.validator == "additionalProperties":
        allowed = sorted(fault.schema["properties"])
        unknown = one_line(sorted(set(fault.instance) - set(allowed))[0])[:80]
        return (
            f"unknown key '{_join(key, unknown)}'{_suggestion(unknown, allowed)} "
            f"(allowed here: {', '.join(allowed)})"
        )
    if fault.validator == "required":
        missing = [name for name in fault.validator_value if name not in fault.instance]
        return f"key '{_join(key, missing[0])}' is missing"
    found = one_line(json.dumps(fault.instance, ensure_ascii=False, default=str))[:80]
    return f"{key}: found {found}, {_allowed(fault.schema, fault)}"


def _allowed(schema: dict, fault=None) -> str:
    """What a schema's leaf allows, in words."""
    if "anyOf" in schema:
        return "allowed are " + " or ".join(_allowed(part) for part in schema["anyOf"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return "allowed are " + ", ".join(json.dumps(value) for value in schema["enum"])
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    words = " or ".join(KINDS[kind] for kind in kinds)
    limits = [f"{text} {schema[name]:,}" for name, text in LIMITS.items() if name in schema]
    if schema.get("minItems"):
        limits.append("not empty")
    if schema.get("uniqueItems"):
        limits.append("no value twice")
    if schema.get("minLength"):
        limits.append("not empty")
    if "pattern" in schema:
        limits.append(schema.get("description") or f"of the form {schema['pattern']}")
    text = ", ".join([words, *limits])
    return f"must be {text}" if fault is not None else text


KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text (in quotes, if YAML would read it as something else)",
    "boolean": "true or false",
    "object": "a mapping of keys to values",
    "array": "a list",
    "null": "null",
}
LIMITS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}


def _suggestion(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _join(key: str, name: str) -> str:
    return name if key == "(top level)" else f"{key}.{name}"
