"""Kinds of values that several settings share."""

from typing import Annotated

from pydantic import AfterValidator, Field

Number = int | float
PathText = Annotated[
    str,
    Field(
        pattern=r"^[^\x00-\x1f\x7f{}<>]{1,1000}$",
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
ExperimentName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        json_schema_extra={"form": "at most 100 of A-Z a-z 0-9 _ . -, a letter or digit first"},
    ),
]
ModuleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$")]
