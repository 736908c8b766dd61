"""A section of settings: a strict pydantic model whose faults are told in one line.

What a fault allows is said by the field's own schema, so that no limit is written down twice.
"""

import difflib
import json
import types
from pathlib import Path
from typing import Any, ClassVar, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from yoyak.errors import UserError, display, one_line


class Section(BaseModel):
    """Settings that know every key and take nothing for what it is not: "8" is no number.

    A whole number may be written as 16.0 or 1e3; a number keeps the form in which it is written.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    renamed: ClassVar[dict[str, str]] = {}  # keys of earlier versions: what they are called now

    @field_validator("*", mode="before")
    @classmethod
    def _whole(cls, value: Any, info: ValidationInfo) -> Any:
        kinds = _kinds(cls.model_fields[info.field_name].annotation)
        if int not in kinds or float in kinds:
            return value
        return [_plain(item) for item in value] if isinstance(value, list) else _plain(value)

    @classmethod
    def checked(cls, content: dict, source: Path | str) -> Self:
        """The settings that `content` holds.

        Raises UserError with `source`, key, what was found and what is allowed: the first fault
        only, and a mistyped key first: the others may only follow from it.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            schema = plain_schema(cls)
            faults = [_Fault(fault, content, schema) for fault in error.errors(include_url=False)]
        worst = min(faults, key=lambda fault: (fault.kind != "extra_forbidden", fault.key))
        raise UserError(f"{display(source)}: {worst.words(cls.renamed)}")


def canonical(content: object) -> str:
    """JSON with sorted keys and 32.0 as 32: equal settings give equal text, however written."""
    content = _plain_numbers(content)
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def did_you_mean(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean '{close[0]}'?" if close else ""


def plain_schema(section: type[Section]) -> dict:
    """JSON schema of a section with its parts written out, and a choice with null as one type."""
    schema = section.model_json_schema()
    schema.pop("title", None)
    return _written_out(schema, schema.pop("$defs", {}))


def _written_out(part: Any, definitions: dict) -> Any:
    if isinstance(part, list):
        return [_written_out(each, definitions) for each in part]
    if not isinstance(part, dict):
        return part
    part = dict(part)
    if "$ref" in part:
        part = {**definitions[part.pop("$ref").rpartition("/")[2]], **part}
    if "properties" in part:  # of a section the keys have their defaults, and prose its class
        part.pop("default", None)
        part.pop("description", None)
        properties = part["properties"].items()
        part["properties"] = {key: _named(each, definitions) for key, each in properties}
        return part
    part = {key: _written_out(value, definitions) for key, value in part.items()}
    part = {PYDANTICS.get(key, key): value for key, value in part.items()}
    choices = part.get("anyOf", [])
    if choices == [{"type": "integer"}, {"type": "number"}]:  # kept as written
        part.pop("anyOf")
        part["type"] = "number"
    if {"type": "null"} in choices and len(choices) == 2:
        (other,) = (choice for choice in choices if choice != {"type": "null"})
        if "type" in other:
            part.pop("anyOf")
            part = {**other, **part, "type": [other["type"], "null"]}
    return part


def _named(part: dict, definitions: dict) -> dict:
    part = _written_out(part, definitions)
    part.pop("title", None)
    return part


class _Fault:
    """One of pydantic's errors, placed in the settings and told in our words."""

    def __init__(self, error: dict, content: object, schema: dict) -> None:
        self.kind, self.note = error["type"], error["msg"]
        self.found, self.schema, path = content, schema, []
        self.location = list(error["loc"])
        for step in self.location:  # beyond the settings' own keys, pydantic names its types
            if isinstance(self.found, dict) and step in self.schema.get("properties", {}):
                self.schema = self.schema["properties"][step]
            elif isinstance(self.found, list) and isinstance(step, int):
                self.schema = _items(self.schema)
            else:
                break
            path.append(str(step))
            if isinstance(self.found, dict) and step not in self.found:
                break
            self.found = self.found[step]
        self.key = ".".join(path)

    def words(self, renamed: dict[str, str]) -> str:
        """One fault as: key, what was found, what is allowed."""
        if self.kind == "missing":
            return f"key '{self.key}' is missing"
        if self.kind == "extra_forbidden":
            allowed = sorted(self.schema["properties"])
            unknown = one_line(self.location[-1])[:80]
            name = f"{self.key}.{unknown}" if self.key else unknown
            if name in renamed:
                return f"unknown key '{name}': it is now called {renamed[name]}"
            return (
                f"unknown key '{name}'{did_you_mean(unknown, allowed)} "
                f"(allowed here: {', '.join(allowed)})"
            )
        found = one_line(json.dumps(self.found, ensure_ascii=False, default=str))[:80]
        return f"{self.key or '(top level)'}: found {found}, {allowed_words(self.schema, True)}"


def allowed_words(schema: dict, first: bool = False) -> str:
    """What a key's schema allows, in words."""
    if "anyOf" in schema:
        return "allowed are " + " or ".join(allowed_words(part) for part in schema["anyOf"])
    if "const" in schema:
        value = json.dumps(schema["const"])
        return f"must be {value}" if first else value
    if "enum" in schema:
        values = ", ".join(json.dumps(value) for value in schema["enum"])
        return f"allowed are {values}" if first else values
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "properties" in schema:
        kinds = ["object"]
    limits = [f"{text} {schema[name]:,}" for name, text in LIMITS.items() if name in schema]
    if schema.get("minItems") or schema.get("minLength"):
        limits.append("not empty")
    if schema.get("uniqueItems"):
        limits.append("no value twice")
    if "pattern" in schema:
        limits.append(schema.get("form") or f"of the form {schema['pattern']}")
    text = ", ".join([" or ".join(KINDS[kind] for kind in kinds), *limits])
    return f"must be {text}" if first else text


KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text (in quotes, if YAML would read it as something else)",
    "boolean": "true or false",
    "object": "a mapping of keys to values",
    "array": "a list",
    "null": "null",
}
# Limits of a number that is an integer or not: pydantic writes them by its own names.
PYDANTICS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
}
LIMITS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}


def _items(schema: dict) -> dict:
    """Schema of a list's values, also where the list is one of several choices."""
    parts = [schema, *schema.get("anyOf", [])]
    return next((part["items"] for part in parts if "items" in part), {})


def _kinds(annotation: Any) -> set:
    """The plain types that a field's annotation is made of."""
    if get_origin(annotation) in (Union, types.UnionType, list) or hasattr(
        annotation, "__metadata__"
    ):
        return set().union(*map(_kinds, get_args(annotation)))
    return {annotation} if isinstance(annotation, type) else set()


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _plain_numbers(node: Any) -> Any:
    if isinstance(node, BaseModel):
        node = node.model_dump()
    if isinstance(node, dict):
        return {key: _plain_numbers(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_plain_numbers(value) for value in node]
    return _plain(node)
