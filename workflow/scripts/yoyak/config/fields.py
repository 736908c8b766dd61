"""Kinds of values that several settings share."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

Number = int | float
PathText = Annotated[
    str,
    Field(
        pattern=r"^[^\n\t{}<>]{1,1000}$",
        json_schema_extra={"form": "one line of at most 1,000 characters, without { } < >"},
    ),
]
Revision = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*([./][A-Za-z0-9_-]+)*$",
        json_schema_extra={"form": "a commit, tag or branch"},
    ),
]


def no_value_twice(values: list) -> list:
    if len(set(values)) < len(values):
        raise ValueError("a value stands twice")
    return values


UNIQUE = (
    Field(min_length=1, json_schema_extra={"uniqueItems": True}),
    AfterValidator(no_value_twice),
)
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
Label = Annotated[
    str,
    Field(
        pattern=r"^[\w.-]{1,50}$",
        json_schema_extra={"form": "at most 50 letters, digits, dots, hyphens"},
    ),
]
FileName = Annotated[
    str,
    Field(
        pattern=r"^\w[\w.\-]{0,99}$",
        json_schema_extra={
            "form": "the name of a file without .yaml: at most 100 letters of any script, digits, "
            "`_`, `.` and `-`, a letter or digit first"
        },
    ),
]
ModuleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$")]


def name_fault(name: str) -> str | None:
    """Why a model or a study cannot have this name, which becomes a folder's; None where it can."""
    odd = re.search(r"[^\w.\-]", name)
    if not name or not re.match(r"\w", name):
        return "a name starts with a letter or a digit"
    if odd:
        return f"a name may not hold {odd[0]!r}: letters of any script, digits, _ . and - only"
    if len(name) > 100:
        return f"a name has at most 100 characters, this one has {len(name)}"
    return None
