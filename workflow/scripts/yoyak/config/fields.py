"""Types of values that several settings share."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WrapValidator,
)
from pydantic_core.core_schema import no_info_after_validator_function


@dataclass(frozen=True)
class Form:
    """The pattern that a text must fully match, and its description for errors."""

    pattern: str
    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler):
        return no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict:
        return {**handler(schema), "pattern": self.pattern}

    def _check(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text):
            raise ValueError(self.words)
        return text


def plain(value: Any) -> Any:
    """A whole float as an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_written(value: Any, check: Callable) -> Any:
    check(value)
    return value


def _no_value_twice(values: list) -> list:
    if len(set(values)) < len(values):
        raise ValueError("a list with no value twice")
    return values


Whole = Annotated[int, BeforeValidator(plain)]  # may be written as 16.0 or 1e3
Number = Annotated[float, WrapValidator(_as_written)]  # 32 stays 32, and 32.0 stays 32.0
Seed = Annotated[Whole, Field(ge=0, le=2**32 - 1)]
PathText = Annotated[
    str,
    Form(
        r"^[^\x00-\x1f\x7f{}<>]{1,1000}$",
        "one line of at most 1,000 characters, without { } < >",
    ),
]
Revision = Annotated[
    str, Form(r"^[A-Za-z0-9][A-Za-z0-9_-]*([./][A-Za-z0-9_-]+)*$", "a commit, tag or branch")
]
Label = Annotated[  # MLflow's are files: `.` and `..` are none
    str, Form(r"^[\w-][\w.-]{0,49}$", "at most 50 letters, digits, dots, hyphens, no dot first")
]
FileName = Annotated[
    str,
    Form(
        r"^\w[\w.\-]{0,99}$",
        "the name of a file without .yaml: at most 100 letters of any script, digits, `_`, `.` and "
        "`-`, a letter or digit first",
    ),
]
ModuleName = Annotated[str, Form(r"^[A-Za-z0-9_.]+$", "a module's name")]
DISTINCT = (Field(json_schema_extra={"uniqueItems": True}), AfterValidator(_no_value_twice))
UNIQUE = (Field(min_length=1), *DISTINCT)


def name_fault(name: str) -> str | None:
    """Why this cannot name a model or study (names become folders); None if it can."""
    odd = re.search(r"[^\w.\-]", name)
    if not name or not re.match(r"\w", name):
        return "a name starts with a letter or a digit"
    if odd:
        return f"a name may not hold {odd[0]!r}: letters of any script, digits, _ . and - only"
    if len(name) > 100:
        return f"a name has at most 100 characters, this one has {len(name)}"
    return None
