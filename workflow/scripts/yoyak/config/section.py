"""A section of settings: a strict pydantic model that reports its first error in one line."""

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from yoyak.config.fields import plain
from yoyak.errors import UserError, display, one_line

# Our wording of pydantic's messages: by error type, then by phrase.
SENTENCES = {
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping of keys to values",
    "int_type": "must be a whole number",
    "list_type": "must be a list, such as [one, two]",
    "model_type": "must be a mapping of keys to values",
    "string_too_short": "must be not empty",
    "string_type": "must be a text (in quotes, if YAML would read it as something else)",
    "too_short": "must be not empty",
}
WORDS = {
    "Input should be": "must be",
    "Value error,": "must be",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "more than",
    "a valid number": "a number",
}


class Section(BaseModel):
    """Strict settings: unknown keys are errors, and so are wrong types ("8" is not a number)."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    renamed: ClassVar[dict[str, str]] = {}  # renamed keys: old name → new name

    @classmethod
    def checked(cls, content: dict, source: Path | str) -> Self:
        """The settings that `content` holds.

        Raises UserError with `source`, key, what was found and what is allowed. Only the first
        error is reported, a mistyped key before all others, since they may follow from it.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            problems = error.errors(include_url=False)
        unknown = [fault for fault in problems if fault["type"] == "extra_forbidden"]
        words = cls._unknown(unknown[0]["loc"]) if unknown else _first(problems, content)
        raise UserError(f"{display(source)}: {words}")

    @classmethod
    def _unknown(cls, path: tuple) -> str:
        """Message for an unknown key, with the keys that its section has."""
        section: Any = cls
        named = []
        for step in path[:-1]:
            if step in section.model_fields:  # else the name of one of several types
                section = section_of(section.model_fields[step].annotation)
                named.append(step)
        key, allowed = one_line(path[-1])[:80], sorted(section.model_fields)
        name = ".".join([*named, key])
        if name in cls.renamed:
            return f"unknown key '{name}': it is now called {cls.renamed[name]}"
        allowed_here = f"(allowed here: {', '.join(allowed)})"
        return f"unknown key '{name}'{did_you_mean(key, allowed)} {allowed_here}"


def section_of(annotation: Any) -> type[Section] | None:
    """The section that a value of this type may be, alone or beside null or a name."""
    kinds = (annotation, *get_args(annotation))
    return next((x for x in kinds if isinstance(x, type) and issubclass(x, Section)), None)


def did_you_mean(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean '{close[0]}'?" if close else ""


def canonical(content: object) -> str:
    """JSON with sorted keys and 32.0 as 32: equal settings give equal text."""
    content = _plain_numbers(content)
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _first(problems: Sequence[Any], content: object) -> str:
    """Message for the first of pydantic's errors: key, what was found, what is allowed.

    A value with several allowed types has one error per type.
    """
    key, found = _place(problems[0]["loc"], content)
    if problems[0]["type"] == "missing":
        missing = str(problems[0]["loc"][-1])
        return f"key '{'.'.join(filter(None, [key, missing]))}' is missing"
    sentences = [_sentence(fault) for fault in problems if _place(fault["loc"], content)[0] == key]
    allowed = " or ".join(dict.fromkeys(sentences)).replace(" or must be ", " or ")
    shown = one_line(json.dumps(found, ensure_ascii=False, default=str))[:80]
    return f"{key}: found {shown}, {allowed}"


def _place(location: tuple, found: Any) -> tuple[str, Any]:
    """The dotted key and its value; pydantic's location has names of its types, too."""
    path = []
    for step in location:
        known = range(len(found)) if isinstance(found, list) else found
        if isinstance(known, dict | range) and step in known:
            path.append(str(step))
            found = found[step]
    return ".".join(path), found


def _sentence(fault: dict) -> str:
    text = SENTENCES.get(fault["type"], fault["msg"])
    for theirs, ours in WORDS.items():
        text = text.replace(theirs, ours)
    return text


def _plain_numbers(node: Any) -> Any:
    if isinstance(node, BaseModel):
        node = node.model_dump()
    if isinstance(node, dict):
        return {key: _plain_numbers(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_plain_numbers(value) for value in node]
    return plain(node)
