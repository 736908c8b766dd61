"""Chat prompts from a tokenizer's own chat template, rendered with placeholders for dialogue and
answer.

The tail of a frame is everything between dialogue and answer, in generation and in training alike,
since a training text is the generation prompt followed by the answer. It is what
`add_generation_prompt` gives, which may say more than a finished conversation does (Qwen3's empty
think block). Where a finished conversation goes on beyond it before the answer begins, or where the
template ignores `add_generation_prompt`, it is what the finished conversation writes there. Blanks
at its end are then left off: tokenizers put them into the answer's first token.

A template that refuses or drops a system message gets its sentence at the head of the user's.

Templates are untrusted programs: transformers renders them in Jinja's sandbox, and any error
becomes one line here.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yoyak.errors import UserError, display, one_line

# Some templates write today's date into the system message; a fixed date keeps runs reproducible.
FIXED_DATE = "26 Jul 2024"
FIXED_CLOCK = "{% macro strftime_now(format) %}" + FIXED_DATE + "{% endmacro %}\n"
VARIABLES = {
    "enable_thinking": False,  # Qwen3: the empty think block goes into the prompt
    "date_string": FIXED_DATE,
}
DIALOGUE = "⟦dialogue⟧"
ANSWER = "⟦answer⟧"
OWN_MESSAGE, USER_MESSAGE = "system message", "user message"


@dataclass(frozen=True)
class TemplateTexts:
    """The text that a chat template writes around placeholders for dialogue and answer.

    place: where the template stands; system: the message that carries the system sentence, ""
    without one; prompts: the generation prompt of each user's message; unprompted and answered: the
    first one without `add_generation_prompt`, and with an answer. UserError: why it is none.
    """

    place: str
    system: str
    prompts: dict[str, str | UserError]
    unprompted: str | UserError
    answered: str | UserError

    def prompt(self, message: str) -> str:
        return _text(self.prompts[message])

    def frame(self, message: str) -> tuple[str, str]:
        """The text before a dialogue and the text between it and its answer.

        Raises UserError: a template that shows either not just once, or opens a think block.
        """
        text = self.prompt(message)
        self._check_once(text, DIALOGUE, "user's message")
        head, tail = text.split(DIALOGUE)
        tail = self._tail(tail)
        if (head + tail).count("<think>") > (head + tail).count("</think>"):
            raise UserError(
                f"{self.place}: its chat template opens a think block that enable_thinking=False "
                "does not close; use a checkpoint that answers without thinking"
            )
        return head, tail

    def around_answer(self) -> tuple[str, str]:
        """The finished conversation before the assistant's answer and after it."""
        text = _text(self.answered)
        self._check_once(text, ANSWER, "answer")
        before, after = text.split(ANSWER)
        return before, after

    def _tail(self, prompted: str) -> str:
        ignored = self.unprompted == next(iter(self.prompts.values()))
        before, _ = self.around_answer()
        if before.count(DIALOGUE) != 1:  # an answered message is left out: nothing to compare with
            if ignored:
                self._check_once(before, DIALOGUE, "message before an answer")
            return prompted
        between = before.partition(DIALOGUE)[2]
        ours, theirs = prompted.rstrip(), between.rstrip()
        if theirs != ours and (theirs.startswith(ours) or ignored and not ours.startswith(theirs)):
            return between.rstrip(" ")
        return prompted

    def _check_once(self, text: str, mark: str, what: str) -> None:
        if text.count(mark) != 1:
            raise UserError(
                f"{self.place}: its chat template shows the {what} {text.count(mark)} times "
                "instead of once; use the instruction format"
            )


def read_template(tokenizer, messages: Sequence[str], sentence: str | None) -> TemplateTexts:
    """Render a prompt for each user's message, in which DIALOGUE is the dialogue's place.

    sentence: the system sentence. Raises UserError where there is no chat template.
    """
    place = template_place(tokenizer)
    if tokenizer.chat_template is None:
        raise UserError(
            f"{place}: the tokenizer has no chat template, which format 'chat' needs; set "
            "model.chat_template: llama (or qwen) in the model file, or use the instruction format"
        )
    if sentence is None:
        return _rendered(tokenizer, place, messages, "", "")
    texts = _rendered(tokenizer, place, messages, sentence, OWN_MESSAGE)
    first = texts.prompts[messages[0]]
    if isinstance(first, str) and sentence in first:
        return texts
    moved = _rendered(tokenizer, place, messages, sentence, USER_MESSAGE)
    hopeless = isinstance(first, UserError) and isinstance(moved.prompts[messages[0]], UserError)
    return texts if hopeless else moved


def _rendered(
    tokenizer, place: str, messages: Sequence[str], sentence: str, system: str
) -> TemplateTexts:
    talks = [
        conversation([{"role": "user", "content": text}], sentence, system) for text in messages
    ]
    prompts = [render(tokenizer, talk, True) for talk in talks]
    unprompted = render(tokenizer, talks[0], False)
    answered = render(tokenizer, [*talks[0], {"role": "assistant", "content": ANSWER}], False)
    return TemplateTexts(
        place, system, dict(zip(messages, prompts, strict=True)), unprompted, answered
    )


def render(tokenizer, messages: list[dict], add_generation_prompt: bool) -> str | UserError:
    """A conversation as the tokenizer's chat template renders it, or why it cannot."""
    try:
        template = tokenizer.get_chat_template()
        clock = FIXED_CLOCK if "strftime_now" in template else ""
        return tokenizer.apply_chat_template(
            messages,
            chat_template=clock + template,
            add_generation_prompt=add_generation_prompt,
            tokenize=False,
            **VARIABLES,
        )
    except Exception as error:  # a template is a program of its own and may raise anything
        why = one_line(f"{type(error).__name__}: {error}")[:250]
        return UserError(
            f"{template_place(tokenizer)}: its chat template cannot be used for a system, a user "
            f"and an assistant message: {why}; use the instruction format, or a checkpoint with "
            "another template"
        )


def earlier_turns(
    tokenizer, message: str, sentence: str, system: str, pairs: Sequence[Sequence[str]]
) -> str:
    """The text before a dialogue that follows solved ones: (dialogue, answer), a turn each.

    message: the user's, with DIALOGUE in the dialogue's place.
    Marks stand for the texts while the template runs, since some templates change what is said.
    Raises UserError for a template that does not show every turn once, in their order.
    """
    texts: dict[str, str] = {}
    messages = []
    for number, (dialogue, answer) in enumerate(pairs, start=1):
        asked, answered = f"⟦dialogue {number}⟧", f"⟦answer {number}⟧"
        texts |= {asked: dialogue, answered: answer}
        messages.append({"role": "user", "content": message.replace(DIALOGUE, asked)})
        messages.append({"role": "assistant", "content": answered})
    messages.append({"role": "user", "content": message})
    text = _text(render(tokenizer, conversation(messages, sentence, system), True))
    marks = re.compile("|".join(map(re.escape, [*texts, DIALOGUE])))
    if marks.findall(text) != [*texts, DIALOGUE]:
        raise UserError(
            f"{template_place(tokenizer)}: its chat template does not show every earlier turn "
            "once, which few_shot needs; use the instruction format, or few_shot: 0"
        )
    return marks.sub(lambda mark: texts[mark[0]], text.partition(DIALOGUE)[0])


def template_place(tokenizer) -> str:
    """The file of a tokenizer's chat template, or the tokenizer's name."""
    name = str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)
    for file in ("chat_template.jinja", "tokenizer_config.json"):
        try:
            if (Path(name) / file).is_file():
                return display(Path(name) / file)
        except (OSError, ValueError):
            break
    return one_line(name)[:200]


def conversation(messages: list[dict], sentence: str, system: str) -> list[dict]:
    """Messages with the system sentence: one of its own, or the head of the user's, or neither."""
    if system == USER_MESSAGE:
        first, *others = messages
        return [{**first, "content": f"{sentence}\n\n{first['content']}"}, *others]
    return [{"role": "system", "content": sentence}, *messages] if system else messages


def _text(rendered: str | UserError) -> str:
    if isinstance(rendered, UserError):
        raise rendered
    return rendered
