"""Prompt formats: instruction and chat prompts, in Korean and English. A prompt that is too long is
truncated in encoding.py.

A prompt is a frame around the dialogue. Instruction frames are plain text; chat frames come from
the tokenizer's own chat template (chat_frames.py). Training text is the generation prompt's tokens,
then the answer's tokens, then the stop token: the prompt is an exact prefix of the training text
because nothing is ever tokenised twice.
"""

import functools
import logging
from dataclasses import dataclass
from typing import Any

from yoyak.data.chat_frames import USER_MESSAGE, TemplateTexts, read_template, template_place
from yoyak.data.control_tokens import control_tokens_in
from yoyak.errors import UserError

log = logging.getLogger(__name__)

FORMATS = ("instruction", "chat")
LANGUAGES = ("ko", "en")
AUGMENTATIONS = {"none": 1, "templates": 5}  # examples per dialogue

SYSTEM = {
    "ko": "당신은 대화를 요약하는 전문가입니다.",
    "en": "You are an expert at summarizing dialogues.",
}
# A format's first request is always used for generation. The other four are for
# the augmentation and are the same in both formats.
REQUESTS: dict[str, dict[str, Any]] = {
    "ko": {
        "instruction": "다음 대화를 간결하게 요약해주세요.",
        "chat": "다음 대화를 요약해주세요:",
        "augmentation": (
            "아래 대화를 읽고 핵심 내용을 한두 문장으로 정리해주세요",
            "다음 대화에서 누가 무엇을 말하고 무엇을 하기로 했는지 짧게 요약해주세요",
            "이 대화의 주요 내용을 제삼자의 시점에서 간단히 설명해주세요",
            "대화를 보지 못한 사람도 이해할 수 있도록 아래 대화의 요약문을 작성해주세요",
        ),
    },
    "en": {
        "instruction": "Summarize the following dialogue concisely.",
        "chat": "Summarize the following dialogue:",
        "augmentation": (
            "Read the dialogue below and give its main points in one or two sentences",
            "Say briefly who says what and what is decided in the following dialogue",
            "Describe the main content of this dialogue from a third person's point of view",
            "Write a summary of the dialogue below for someone who has not seen it",
        ),
    },
}


INPUT = "### Input:\n"


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
    tokenizer, prompt_format: str, language: str, augmentation: str = "none"
) -> list[PromptFrame]:
    """The frame for generation, followed by four more for augmentation "templates".

    Raises:
        UserError: unknown format, language or augmentation; in chat format, a tokenizer without
            chat template or with one that cannot carry a summary (see `stop_token_ids`).
    """
    check_choice("format", prompt_format, FORMATS)
    check_choice("language", language, LANGUAGES)
    check_choice("augmentation", augmentation, tuple(AUGMENTATIONS))
    requests = request_sentences(prompt_format, language)[: AUGMENTATIONS[augmentation]]
    if prompt_format == "instruction":
        prefix = _instruction_bos(tokenizer)
        return [_instruction_frame(prefix, request) for request in requests]
    template = _template(tokenizer)
    if template.system == USER_MESSAGE:
        _note_moved_sentence(template.place)
    return [
        PromptFrame((), *template.frame(request, SYSTEM[language]), request, template.system)
        for request in requests
    ]


def request_sentences(prompt_format: str, language: str) -> list[str]:
    """The five requests of a format; the first is used for generation."""
    texts = REQUESTS[language]
    end = "." if prompt_format == "instruction" else ":"
    return [texts[prompt_format], *(text + end for text in texts["augmentation"])]


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


def _instruction_frame(prefix: tuple[int, ...], request: str) -> PromptFrame:
    head = f"### Instruction:\n{request}\n\n{INPUT}"
    return PromptFrame(prefix, head, "\n\n### Response:\n", request)


def _template(tokenizer) -> TemplateTexts:
    requests = [
        (words, SYSTEM[language])
        for language in LANGUAGES
        for words in request_sentences("chat", language)
    ]
    return read_template(tokenizer, requests)


def _template_ends(tokenizer) -> list[int]:
    """The control tokens that the chat template writes after an assistant's answer.

    Some templates also write the header of the next answer: those tokens are not stop tokens.
    """
    before, after = _template(tokenizer).around_answer()
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
        text = _template(tokenizer).prompt(REQUESTS["ko"]["chat"], SYSTEM["ko"])
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
