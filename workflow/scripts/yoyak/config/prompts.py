"""What a file of config/prompts/ may say: the texts around a dialogue, in each prompt format."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, PrivateAttr

from yoyak.config.section import Section
from yoyak.errors import UserError, display

FORMATS = ("instruction", "chat")
AUGMENTATIONS = {"none": 1, "templates": 5}  # examples per dialogue, each with a request of its own
BY_LANGUAGE = {"ko": "korean", "en": "english"}  # the file where nobody names one
PLACEHOLDER = re.compile(r"\{(\w+)\}")  # other braces, such as those of JSON, are text


def _with(needed: Sequence[str], allowed: Sequence[str] = ()) -> AfterValidator:
    """A text with each needed placeholder once, and no others than the allowed ones."""
    wanted = "a text with " + (" and ".join(f"{{{name}}}" for name in needed) or "no placeholder")
    wanted += "".join(f" (and {{{name}}})" for name in allowed)

    def check(text: str) -> str:
        if not text.strip():
            raise ValueError("not empty")
        found = PLACEHOLDER.findall(text)
        faults = [f"lacks {{{name}}}" for name in needed if name not in found]
        faults += [f"has {{{name}}}" for name in found if name not in (*needed, *allowed)]
        faults += [f"has {{{name}}} twice" for name in found if found.count(name) > 1]
        if faults:
            raise ValueError(f"{wanted}: it {faults[0]}")
        return text

    return AfterValidator(check)


def _all_or_one(requests: list[str]) -> list[str]:
    if len(requests) not in AUGMENTATIONS.values() or len(set(requests)) < len(requests):
        raise ValueError(f"one text or five different ones; there are {len(requests)}")
    return requests


Request = Annotated[str, _with(())]
Requests = Annotated[
    list[Request],
    Field(json_schema_extra={"uniqueItems": True}),
    AfterValidator(_all_or_one),
]
REQUESTS_ARE = (
    "what takes the place of `{request}`: five texts, or one if no study trains with `templates`; "
    "the first is used by `none` and to generate"
)


class InstructionPrompt(Section):
    """The prompt of format `instruction`: plain text."""

    text: Annotated[str, _with(("request", "dialogue"), ("examples",))] = Field(
        description="the whole prompt, with `{request}` and `{dialogue}`; the summary follows it. "
        "`{examples}` is where the examples of `few_shot` stand"
    )
    requests: Requests = Field(description=REQUESTS_ARE)
    example: Annotated[str, _with(("dialogue", "summary"), ("end",))] | None = Field(
        None,
        description="one example of `few_shot`, with `{dialogue}`, `{summary}` and, after it, "
        "`{end}`: the stop token that an answer ends with in training",
    )


class ChatPrompt(Section):
    """The messages of format `chat`; the tokenizer's chat template writes what is around them."""

    system: Annotated[str, _with(())] | None = Field(
        None, description="the system message; `null`: none"
    )
    text: Annotated[str, _with(("request", "dialogue"))] = Field(
        description="the user's message, with `{request}` and `{dialogue}`; examples of `few_shot` "
        "are earlier turns with this message and the summary as its answer"
    )
    requests: Requests = Field(description=REQUESTS_ARE)


class Prompts(Section):
    """A file of config/prompts/; a format that no study uses may be left out."""

    instruction: InstructionPrompt | None = None
    chat: ChatPrompt | None = None
    _file: str = PrivateAttr("prompts")  # for errors

    @classmethod
    def checked(cls, content: dict, source: Path | str) -> Self:
        prompts = super().checked(content, source)
        prompts._file = display(source)
        return prompts

    @property
    def file(self) -> str:
        """Where they were read."""
        return self._file

    def used(
        self,
        prompt_format: str,
        augmentation: str = "none",
        few_shot: int = 0,
    ) -> "Prompts":
        """Only the texts that such a step uses: a change of others is no change of it.

        Raises UserError where one of them is missing.
        """
        texts = self.instruction if prompt_format == "instruction" else self.chat
        if texts is None:
            raise UserError(
                f"{self._file}: key '{prompt_format}' is missing, which format '{prompt_format}' "
                "needs; add it, name other prompts, or leave that format away"
            )
        count = AUGMENTATIONS[augmentation]
        if len(texts.requests) < count:
            raise UserError(
                f"{self._file}: {prompt_format}.requests: found 1 text, and augmentation "
                f"'{augmentation}' needs {count}; add {count - 1} or set augmentations: [none]"
            )
        kept, update = Prompts(), {"requests": texts.requests[:count]}
        kept._file = self._file
        if isinstance(texts, InstructionPrompt):
            layout = self._layout(texts, few_shot)
            kept.instruction = texts.model_copy(update={**update, **layout})
        else:
            kept.chat = texts.model_copy(update=update)
        return kept

    def _layout(self, texts: InstructionPrompt, few_shot: int) -> dict[str, object]:
        if not few_shot:
            return {"text": texts.text.replace("{examples}", ""), "example": None}
        for key, there in (("example", texts.example), ("text", "{examples}" in texts.text)):
            if not there:
                what = "has no {examples}" if key == "text" else "is missing"
                raise UserError(
                    f"{self._file}: instruction.{key} {what}, which few_shot needs; add it as in "
                    "config/prompts/korean.yaml, or set few_shot: 0"
                )
        return {}
