"""Prompt formats: instruction and chat prompts, whose texts are those of config/prompts/. A prompt
that is too long is truncated in encoding.py.

A prompt is a frame around the dialogue. Instruction frames are plain text; chat frames come from
the tokenizer's own chat template (chat_frames.py). Training text is the generation prompt's tokens,
then the answer's tokens, then the stop token: the prompt is an exact prefix of the training text
because nothing is ever tokenised twice.
"""

import functools
import logging
from dataclasses import dataclass

from yoyak.config.prompts import (
    AUGMENTATIONS,
    FORMATS,
    PLACEHOLDER,
    ChatPrompt,
    InstructionPrompt,
    Prompts,
)
from yoyak.data.chat_frames import (
    DIALOGUE,
    USER_MESSAGE,
    read_template,
    template_place,
)
from yoyak.data.control_tokens import control_tokens_in
from yoyak.errors import UserError

log = logging.getLogger(__name__)

PROBE = ([DIALOGUE], "⟦system⟧")  # messages for a template where their words do not matter


@dataclass(frozen=True)
class PromptFrame:
    """The text around a dialogue, and token ids before it (a BOS); `request` is the instruction.

    system: the message that carries the system sentence in chat format; "" without such a sentence.
    """

    prefix_ids: tuple[int, ...]
    head: str
    tail: str
    request: str
    system: str = ""

    def around(self, dialogue: str) -> str:
        return self.head + dialogue + self.tail


def prompt_frames(
    tokenizer, prompt_format: str, prompts: Prompts, augmentation: str = "none"
) -> list[PromptFrame]:
    """The frame for generation, followed by four more for augmentation "templates".

    Raises:
        UserError: unknown format or augmentation; prompts that lack a text for them; in chat
            format, a tokenizer without chat template or with one that cannot carry a summary (see
            `stop_token_ids`).
    """
    check_choice("format", prompt_format, FORMATS)
    check_choice("augmentation", augmentation, tuple(AUGMENTATIONS))
    used = prompts.used(prompt_format, augmentation)
    if used.chat is None:
        assert used.instruction is not None
        prefix = _instruction_bos(tokenizer)
        return [
            instruction_frame(used.instruction, prefix, request)
            for request in used.instruction.requests
        ]
    messages = [user_message(used.chat, request) for request in used.chat.requests]
    template = read_template(tokenizer, messages, used.chat.system)
    if template.system == USER_MESSAGE:
        _note_moved_sentence(template.place)
    return [
        PromptFrame((), *template.frame(message), request, template.system)
        for message, request in zip(messages, used.chat.requests, strict=True)
    ]


def instruction_frame(
    texts: InstructionPrompt, prefix: tuple[int, ...], request: str, examples: str = ""
) -> PromptFrame:
    head, tail = (
        filled(part, request=request, examples=examples) for part in texts.text.split("{dialogue}")
    )
    return PromptFrame(prefix, head, tail, request)


def user_message(texts: ChatPrompt, request: str) -> str:
    """The user's message, with a mark in the dialogue's place."""
    return filled(texts.text, request=request, dialogue=DIALOGUE)


def filled(text: str, **values: str) -> str:
    """A text with these values in its placeholders; braces in a value stay text."""
    return PLACEHOLDER.sub(lambda found: values[found[1]], text)


def supervised_stop_id(tokenizer, prompt_format: str) -> int:
    """The stop token that the model learns to write after every answer.

    In chat it is the first control token that the template writes after an answer, and the end of
    text where it writes none (SOLAR, GLM 4) or in instruction format.

    Raises UserError when the tokenizer has no end token and its template writes none either.
    """
    check_choice("format", prompt_format, FORMATS)
    ends = _template_ends(tokenizer) if prompt_format == "chat" else []
    ends = [*ends, *_known_ids([tokenizer.eos_token_id])]
    if not ends:
        no_other = " and its chat template writes none" if prompt_format == "chat" else ""
        raise UserError(
            f"{template_place(tokenizer)}: has no end token (eos_token){no_other}, so a model "
            "could never learn to stop; set one in its config"
        )
    return ends[0]


def stop_token_ids(tokenizer, prompt_format: str) -> list[int]:
    """All tokens that end generation, the supervised one first.

    They are the tokenizer's end token, what its chat template writes after an answer, and what the
    checkpoint's generation_config.json and config.json name (`named_end_ids`, which LoRALoader
    notes on its tokenizers), in both formats: a chat model that is asked in instruction format
    often ends its turn all the same, and a base model asked in chat format ends its text.
    """
    stops = [supervised_stop_id(tokenizer, prompt_format), tokenizer.eos_token_id]
    if tokenizer.chat_template is not None:
        try:
            stops += _template_ends(tokenizer)
        except UserError as error:  # the instruction format does not need a chat template
            _warn_unused_template(str(error))
    stops += getattr(tokenizer, "named_end_ids", [])
    return list(dict.fromkeys(_known_ids(stops)))


def _template_ends(tokenizer) -> list[int]:
    """The control tokens that the chat template writes after an assistant's answer.

    Some templates also write the header of the next answer: those tokens are not stop tokens.
    """
    before, after = read_template(tokenizer, *PROBE).around_answer()
    header = set(control_tokens_in(before, tokenizer))
    written = control_tokens_in(after, tokenizer)
    ends = written[:1] + [token for token in written[1:] if token not in header]
    return tokenizer.convert_tokens_to_ids(ends)


def _known_ids(ids: list[int | None]) -> list[int]:
    return [number for number in ids if number is not None]


def _instruction_bos(tokenizer) -> tuple[int, ...]:
    """(BOS,) where the tokenizer adds one to plain text or its chat template opens with just one.

    Not where the "BOS" is really the start of each chat turn, as in SmolLM2 (<|im_start|>).
    """
    bos = tokenizer.bos_token_id
    if bos is None:
        return ()
    if tokenizer("a")["input_ids"][:1] == [bos]:
        return (bos,)
    if tokenizer.chat_template is None:
        return ()
    try:
        text = read_template(tokenizer, *PROBE).prompt(DIALOGUE)
    except UserError as error:  # the template is not what this format asks for
        _warn_unused_template(str(error))
        return ()
    once = text.startswith(tokenizer.bos_token) and text.count(tokenizer.bos_token) == 1
    return (bos,) if once else ()


@functools.cache
def _note_moved_sentence(place: str) -> None:
    log.info(
        "%s: its chat template has no system message; its text goes into the user's message", place
    )


@functools.cache
def _warn_unused_template(why: str) -> None:
    """Warn once per process, however often the template is read."""
    log.warning("the chat template is ignored: %s", why)


def check_choice(what: str, found: str, allowed: tuple[str, ...]) -> None:
    """Raise UserError for a value that is not allowed."""
    if found not in allowed:
        raise UserError(f"{what}: found '{found}', allowed are {', '.join(allowed)}")
