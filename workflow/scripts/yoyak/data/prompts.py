"""What the model is shown: instruction and chat prompts, in Korean and English.

A prompt is a frame around the dialogue. Instruction frames are plain text; chat frames come from
the tokenizer's own chat template, rendered once with a mark where the dialogue goes. Training text
is the generation prompt's tokens, then the answer's tokens, then the stop token: the prompt is an
exact prefix of the training text because nothing is ever tokenised twice.
"""

import functools
import logging
import re
from dataclasses import dataclass

from yoyak.data.chat_templates import render_conversations, template_place
from yoyak.settings.config import UserError

log = logging.getLogger(__name__)

FORMATS = ("instruction", "chat")
LANGUAGES = ("ko", "en")
AUGMENTATIONS = {"none": 1, "templates": 5}  # examples per dialogue

SYSTEM = {
    "ko": "당신은 대화를 요약하는 전문가입니다.",
    "en": "You are an expert at summarizing dialogues.",
}
# The first request of a format is the one that is always used to generate. The other four are for
# the augmentation and are the same in both formats.
REQUESTS = {
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
_DIALOGUE_MARK = "⟦dialogue⟧"
_ANSWER_MARK = "⟦answer⟧"
_CONTROL_TOKEN = re.compile(r"^[<\[].*[>\]]$", re.DOTALL)


@dataclass(frozen=True)
class PromptFrame:
    """The text around a dialogue, and token ids (a BOS) before it; `request` is the instruction."""

    prefix_ids: tuple[int, ...]
    head: str
    tail: str
    request: str

    def around(self, dialogue: str) -> str:
        return self.head + dialogue + self.tail


def prompt_frames(
    tokenizer, prompt_format: str, language: str, augmentation: str = "none"
) -> list[PromptFrame]:
    """The frame to generate with, followed by four more under augmentation "templates".

    Raises:
        UserError: unknown format, language or augmentation; in chat format, a tokenizer without
            chat template or with one that cannot carry a summary (see `stop_token_ids`).
    """
    _check_choice("format", prompt_format, FORMATS)
    _check_choice("language", language, LANGUAGES)
    _check_choice("augmentation", augmentation, tuple(AUGMENTATIONS))
    requests = request_sentences(prompt_format, language)[: AUGMENTATIONS[augmentation]]
    if prompt_format == "instruction":
        prefix = _instruction_bos(tokenizer)
        return [_instruction_frame(prefix, request) for request in requests]
    return [_chat_frame(tokenizer, request, SYSTEM[language]) for request in requests]


def request_sentences(prompt_format: str, language: str) -> list[str]:
    """The five requests of a format, the one for generation first."""
    texts = REQUESTS[language]
    end = "." if prompt_format == "instruction" else ":"
    return [texts[prompt_format], *(text + end for text in texts["augmentation"])]


def supervised_stop_id(tokenizer, prompt_format: str) -> int:
    """The token that ends every answer and is learned: end of turn in chat, else end of text.

    Raises UserError when the tokenizer or its chat template has none.
    """
    _check_choice("format", prompt_format, FORMATS)
    if prompt_format == "chat":
        return _end_of_turn_id(tokenizer)
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"{template_place(tokenizer)}: has no end token (eos_token); set one in its config"
        )
    return tokenizer.eos_token_id


def stop_token_ids(tokenizer, prompt_format: str) -> list[int]:
    """Every token at which generation stops, the supervised one first.

    A chat model that is asked in instruction format often ends its turn all the same, and a base
    model asked in chat format ends its text: both count as the end in both formats, so that a
    zero-shot answer is not drawn out to the length limit.
    """
    stops = [supervised_stop_id(tokenizer, prompt_format), tokenizer.eos_token_id]
    if prompt_format == "instruction" and tokenizer.chat_template is not None:
        try:
            stops.append(_end_of_turn_id(tokenizer))
        except UserError as error:  # nothing that this format needs
            _warn_unused_template(str(error))
    return list(dict.fromkeys(stop for stop in stops if stop is not None))


def control_token_pattern(tokenizer) -> re.Pattern | None:
    """Matches the written form of control tokens such as <|eot_id|>; None if there are none.

    In a dialogue they are text that somebody typed, not a command to the model.
    """
    contents = [str(token) for token in tokenizer.get_added_vocab()]
    contents += [str(token) for token in tokenizer.all_special_tokens]
    contents = {text for text in contents if len(text) > 1 and _CONTROL_TOKEN.match(text)}
    if not contents:
        return None
    longest_first = sorted(contents, key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first)))


def defuse(text: str, control_tokens: re.Pattern | None) -> str:
    """Write control tokens inside a text apart (`<|eot_id|>` → `< |eot_id|>`): plain words then."""
    if control_tokens is None:
        return text
    while control_tokens.search(text):
        text = control_tokens.sub(lambda match: match[0][0] + " " + match[0][1:], text)
    return text


def _instruction_frame(prefix: tuple[int, ...], request: str) -> PromptFrame:
    head = f"### Instruction:\n{request}\n\n### Input:\n"
    return PromptFrame(prefix, head, "\n\n### Response:\n", request)


def _chat_frame(tokenizer, request: str, system: str) -> PromptFrame:
    text = _render(tokenizer, request, system, answer=None)
    if text.count(_DIALOGUE_MARK) != 1:
        raise UserError(
            f"{template_place(tokenizer)}: its chat template shows the user's message "
            f"{text.count(_DIALOGUE_MARK)} times instead of once; use the instruction format"
        )
    if text.count("<think>") > text.count("</think>"):
        raise UserError(
            f"{template_place(tokenizer)}: its chat template opens a think block that "
            "enable_thinking=False does not close; use a checkpoint that answers without thinking"
        )
    head, tail = text.split(_DIALOGUE_MARK)
    return PromptFrame((), head, tail, request)


def _render(tokenizer, request: str, system: str, answer: str | None) -> str:
    """The conversation as the tokenizer's chat template writes it, the dialogue a mark.

    All conversations that Yoyak may ask for are rendered together: a template costs one process.
    """
    if tokenizer.chat_template is None:
        raise UserError(
            f"{template_place(tokenizer)}: the tokenizer has no chat template, which format 'chat' "
            "needs; set model.chat_template: llama (or qwen) in the model file, or use the "
            "instruction format"
        )
    known = [
        (words, SYSTEM[language], None)
        for language in LANGUAGES
        for words in request_sentences("chat", language)
    ]
    known.append((REQUESTS["ko"]["chat"], SYSTEM["ko"], _ANSWER_MARK))
    texts = render_conversations(tokenizer, [_conversation(*one) for one in known])
    text = texts[known.index((request, system, answer))]
    if isinstance(text, UserError):
        raise text
    return text


def _conversation(request: str, system: str, answer: str | None) -> dict:
    messages = [
        {"role": "system", "content": system},
        {"role": "user", "content": f"{request}\n{_DIALOGUE_MARK}"},
    ]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return {"messages": messages, "add_generation_prompt": answer is None}


def _end_of_turn_id(tokenizer) -> int:
    """The first control token that the chat template writes after an assistant's answer."""
    text = _render(tokenizer, REQUESTS["ko"]["chat"], SYSTEM["ko"], answer=_ANSWER_MARK)
    after = text.rpartition(_ANSWER_MARK)[2]
    pattern = control_token_pattern(tokenizer)
    match = pattern.search(after) if pattern else None
    if match is None:
        raise UserError(
            f"{template_place(tokenizer)}: its chat template writes no end token after an answer, "
            "so a model could never learn to stop; use the instruction format"
        )
    return tokenizer.convert_tokens_to_ids(match[0])


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
        text = _render(tokenizer, REQUESTS["ko"]["chat"], SYSTEM["ko"], answer=None)
    except UserError as error:  # the template is not what this format asks for
        _warn_unused_template(str(error))
        return ()
    once = text.startswith(tokenizer.bos_token) and text.count(tokenizer.bos_token) == 1
    return (bos,) if once else ()


@functools.cache
def _warn_unused_template(why: str) -> None:
    """Once a process, however often the template is looked at."""
    log.warning("the chat template is left out of account: %s", why)


def _check_choice(what: str, found: str, allowed: tuple[str, ...]) -> None:
    if found not in allowed:
        raise UserError(f"{what}: found '{found}', allowed are {', '.join(allowed)}")
