"""Chat prompts from a tokenizer's own chat template, rendered with marks for dialogue and answer.

The tail of a frame is all that stands between the dialogue and the answer, in generation and in
training alike, since a training text is the generation prompt and then the answer. It is what
`add_generation_prompt` gives, which may say more than a finished conversation does (Qwen3's empty
think block). Where a finished conversation goes on beyond it before the answer begins, or where the
template ignores `add_generation_prompt`, it is what the finished conversation writes there. Blanks
at its end are then left off: tokenizers put them into the answer's first token.

A template that refuses or drops a system message gets its sentence at the head of the user's.
"""

from dataclasses import dataclass

from yoyak.data.chat_templates import render_conversations, template_place
from yoyak.errors import UserError

DIALOGUE = "⟦dialogue⟧"
ANSWER = "⟦answer⟧"
OWN_MESSAGE, USER_MESSAGE = "system message", "user message"


@dataclass(frozen=True)
class TemplateTexts:
    """What a chat template writes around dialogue and answer, which are marks.

    place: where the template stands; system: the message that carries the system sentence;
    prompts: the generation prompt of each (request, system sentence); unprompted and answered: the
    first one without `add_generation_prompt`, and with an answer. UserError: why it is none.
    """

    place: str
    system: str
    prompts: dict[tuple[str, str], str | UserError]
    unprompted: str | UserError
    answered: str | UserError

    def prompt(self, request: str, system: str) -> str:
        return _text(self.prompts[request, system])

    def frame(self, request: str, system: str) -> tuple[str, str]:
        """The text before a dialogue and the text between it and its answer.

        Raises UserError: a template that shows either not just once, or opens a think block.
        """
        text = self.prompt(request, system)
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


def read_template(tokenizer, requests: list[tuple[str, str]]) -> TemplateTexts:
    """Render a prompt for each (request, system sentence), all at once: a process costs 0.2 s.

    Raises UserError as `render_conversations` does, and for a tokenizer without chat template.
    """
    place = template_place(tokenizer)
    if tokenizer.chat_template is None:
        raise UserError(
            f"{place}: the tokenizer has no chat template, which format 'chat' needs; set "
            "model.chat_template: llama (or qwen) in the model file, or use the instruction format"
        )
    texts = _rendered(tokenizer, place, requests, OWN_MESSAGE)
    first = texts.prompts[requests[0]]
    if isinstance(first, str) and requests[0][1] in first:
        return texts
    moved = _rendered(tokenizer, place, requests, USER_MESSAGE)
    hopeless = isinstance(first, UserError) and isinstance(moved.prompts[requests[0]], UserError)
    return texts if hopeless else moved


def _rendered(tokenizer, place: str, requests: list[tuple[str, str]], system: str) -> TemplateTexts:
    asked = [{"messages": _messages(*one, system), "add_generation_prompt": True}
             for one in requests]  # fmt: skip
    messages = asked[0]["messages"]
    asked.append({"messages": messages, "add_generation_prompt": False})
    answer = {"role": "assistant", "content": ANSWER}
    asked.append({"messages": [*messages, answer], "add_generation_prompt": False})
    *prompts, unprompted, answered = render_conversations(tokenizer, asked)
    prompts = dict(zip(requests, prompts, strict=True))
    return TemplateTexts(place, system, prompts, unprompted, answered)


def _messages(request: str, sentence: str, system: str) -> list[dict]:
    user = f"{request}\n{DIALOGUE}"
    if system == USER_MESSAGE:
        return [{"role": "user", "content": f"{sentence}\n\n{user}"}]
    return [{"role": "system", "content": sentence}, {"role": "user", "content": user}]


def _text(rendered: str | UserError) -> str:
    if isinstance(rendered, UserError):
        raise rendered
    return rendered
