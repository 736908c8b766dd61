"""Texts to token ids; a prompt that is too long is truncated here (`_Truncator`), for training and
generation.

Only the dialogue is truncated, never frame, answer or stop token. Whole turns are dropped, from the
end that `dataset.truncate_dialogue` names. If whole turns alone would leave more than half of the
room unused, part of the next turn is kept, cut at a word boundary if one is near and never inside a
character.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from yoyak.config.model_config import ModelConfig
from yoyak.config.prompts import Prompts
from yoyak.data.control_tokens import break_control_tokens, control_token_pattern
from yoyak.data.dialogues import SPEAKER_TAG
from yoyak.data.few_shot import few_shot_frame
from yoyak.data.framing import HeadSwap, encode_framed, encode_texts
from yoyak.data.prompts import PromptFrame, supervised_stop_id
from yoyak.errors import UserError

SMALLEST_ROOM = 16  # tokens that must be left for the dialogue
_CHARACTERS_PER_TOKEN = 64  # no real text has longer tokens on average
_WORD_SEARCH = 20  # characters searched for a word boundary
_ROWS_AT_ONCE = 1024  # bounds the memory that the tokenizer needs for its intermediate objects


@dataclass(frozen=True)
class Prompt:
    """Token ids of one generation prompt, and whether its dialogue was truncated."""

    input_ids: list[int]
    shortened: bool


def build_prompts(
    dialogues: Sequence,
    tokenizer,
    config: ModelConfig,
    prompt_format: str,
    texts: Prompts,
    examples: Sequence = (),
) -> tuple[list[list[int]], list[bool]]:
    """Generation prompts of `Dialogue` rows: token ids (with one BOS), and which were truncated.

    Args:
        config: effective model config; encoder_max_len and truncate_dialogue are read.
        texts: the prompts' own, such as `find_prompts` gives.
        examples: rows that stand solved before every dialogue (few-shot); never cut.

    Raises UserError as `encode_prompts` and `few_shot_frame` do.
    """
    frame = few_shot_frame(tokenizer, prompt_format, texts, examples)
    rows = [row.dialogue for row in dialogues]
    limit, side = config.tokenizer.encoder_max_len, config.dataset.truncate_dialogue
    prompts = encode_prompts(rows, [frame], tokenizer, limit, side)[0]
    return [prompt.input_ids for prompt in prompts], [prompt.shortened for prompt in prompts]


def encode_prompts(
    dialogues: Sequence[str], frames: Sequence[PromptFrame], tokenizer, limit: int, side: str
) -> list[list[Prompt]]:
    """For each frame, one prompt per dialogue text of at most `limit` tokens.

    side: the end at which a dialogue that is too long is truncated, "start" or "end".

    Raises UserError when a frame leaves less than 16 tokens for the dialogue.
    """
    control_tokens = control_token_pattern(tokenizer)
    truncators = [_Truncator(tokenizer, frame, limit, side) for frame in frames]
    swaps = [HeadSwap(tokenizer, frames[0], frame) for frame in frames[1:]]
    prompts: list[list[Prompt]] = [[] for _ in frames]
    for start in range(0, len(dialogues), _ROWS_AT_ONCE):
        texts = [
            break_control_tokens(text, control_tokens)
            for text in dialogues[start : start + _ROWS_AT_ONCE]
        ]
        bounded = [_bounded(text, limit, side) for text in texts]
        first = encode_framed(tokenizer, frames[0], bounded)
        variants = [first, *(swap.apply(bounded, first) for swap in swaps)]
        for number, (truncator, encoded) in enumerate(zip(truncators, variants, strict=True)):
            prompts[number] += truncator.fit(texts, bounded, encoded)
    return prompts


def encode_answers(summaries: Sequence[str], tokenizer, prompt_format: str) -> list[list[int]]:
    """Token ids of each summary and the stop token; never truncated.

    Raises UserError for a summary without text: such a row would carry no loss.
    """
    stop = supervised_stop_id(tokenizer, prompt_format)
    control_tokens = control_token_pattern(tokenizer)
    answers = []
    for start in range(0, len(summaries), _ROWS_AT_ONCE):
        texts = [
            break_control_tokens(text.strip(), control_tokens)
            for text in summaries[start : start + _ROWS_AT_ONCE]
        ]
        for number, ids in enumerate(encode_texts(tokenizer, texts), start=start):
            if not ids:
                raise UserError(f"row {number + 1}: its summary holds no token to learn from")
            answers.append([*ids, stop])
    return answers


class _Truncator:
    """Truncates dialogues so that each prompt in a frame has at most `limit` tokens; drops turns at
    `side`."""

    def __init__(self, tokenizer, frame: PromptFrame, limit: int, side: str) -> None:
        self.tokenizer, self.frame, self.limit, self.side = tokenizer, frame, limit, side
        frame_tokens = self._lengths([""])[0]
        self.room = limit - frame_tokens
        if self.room < SMALLEST_ROOM:
            raise UserError(
                f"tokenizer.encoder_max_len: {limit} tokens, of which the prompt's frame takes "
                f"{frame_tokens}: at least {SMALLEST_ROOM} must be left for the dialogue; raise it"
            )

    def fit(
        self, dialogues: list[str], bounded: list[str], encoded: list[list[int]]
    ) -> list[Prompt]:
        """Prompts of `dialogues`, given their bounded texts and those texts' framed token ids."""
        prompts = [
            Prompt(ids, shortened=len(text) < len(whole))
            for ids, text, whole in zip(encoded, bounded, dialogues, strict=True)
        ]
        long = [index for index, ids in enumerate(encoded) if len(ids) > self.limit]
        short = self._truncate([bounded[index] for index in long])
        for index, ids in zip(long, short, strict=True):
            prompts[index] = Prompt(ids, shortened=True)
        return prompts

    def _truncate(self, dialogues: list[str]) -> list[list[int]]:
        """Token ids of truncated prompts for dialogues that are too long."""
        turns = [text.split("\n") for text in dialogues]
        lengths = iter(
            map(len, encode_texts(self.tokenizer, [turn + "\n" for row in turns for turn in row]))
        )
        kept = [self._whole_turns([next(lengths) for _ in row]) for row in turns]
        result: dict[int, list[int]] = {}
        open_rows = list(range(len(turns)))
        while open_rows:
            whole = [index for index in open_rows if kept[index]]
            for index in set(open_rows) - set(whole):
                result[index] = self._cut(turns[index])
            texts = ["\n".join(self._part(turns[index], kept[index])) for index in whole]
            open_rows = []
            for index, ids in zip(whole, self._encode(texts), strict=True):
                if len(ids) <= self.limit:
                    result[index] = ids
                else:  # the sum of the turns' tokens was only an estimate
                    kept[index] -= 1
                    open_rows.append(index)
        return [result[index] for index in range(len(turns))]

    def _whole_turns(self, lengths: list[int]) -> int:
        """How many whole turns fit; 0 if they would leave more than half of the room unused."""
        used = count = 0
        for length in reversed(lengths) if self.side == "start" else lengths:
            if used + length > self.room:
                break
            used, count = used + length, count + 1
        return count if 2 * used >= self.room else 0

    def _part(self, turns: list[str], count: int) -> list[str]:
        return turns[-count:] if self.side == "start" else turns[:count]

    def _cut(self, turns: list[str]) -> list[int]:
        """Keep as many whole turns as fit, and as much of the next turn as fits beside them."""
        count = _largest(
            len(turns) - 1,
            lambda number: number == 0 or self._fits("\n".join(self._part(turns, number))),
        )
        rest = self._part(turns, count) if count else []
        turn = turns[-count - 1] if self.side == "start" else turns[count]
        tag = SPEAKER_TAG.match(turn)
        # A turn without its beginning still says who speaks.
        tag_text = tag[0] + " " if tag and self.side == "start" else ""
        body = turn[len(tag_text.rstrip()) :].lstrip() if tag_text else turn

        def text_with(characters: int) -> str:
            if self.side == "start":
                piece = body[len(body) - characters :]
                return "\n".join([tag_text + piece, *rest])
            return "\n".join([*rest, body[:characters]])

        size = _largest(len(body), lambda number: self._fits(text_with(number)))
        size = self._at_an_edge(body, size)
        while size > 0:
            ids = self._encode([text_with(size)])[0]
            if len(ids) <= self.limit:
                return ids
            size -= 1
        if rest:
            return self._encode(["\n".join(rest)])[0]
        tag_text, size = "", _largest(len(body), lambda number: self._fits(text_with(number)))
        return self._encode([text_with(max(size, 1))])[0]

    def _at_an_edge(self, body: str, size: int) -> int:
        """A slightly smaller size that cuts between words, or at least between characters."""
        if size in (0, len(body)):
            return size
        for smaller in range(size, max(size - _WORD_SEARCH, 0), -1):
            cut = len(body) - smaller if self.side == "start" else smaller
            if body[cut - 1].isspace() or body[cut].isspace():
                return smaller
        while size > 1:
            cut = len(body) - size if self.side == "start" else size
            if not _joins(body[cut]) and body[cut - 1] != "\u200d":
                return size
            size -= 1
        return size

    def _fits(self, dialogue: str) -> bool:
        return self._lengths([dialogue])[0] <= self.limit

    def _lengths(self, dialogues: list[str]) -> list[int]:
        return [len(ids) for ids in self._encode(dialogues)]

    def _encode(self, dialogues: list[str]) -> list[list[int]]:
        return encode_framed(self.tokenizer, self.frame, dialogues)


def _bounded(dialogue: str, limit: int, side: str) -> str:
    """The text cut to 64 characters per token of the limit, to bound the work on a huge cell."""
    most = limit * _CHARACTERS_PER_TOKEN
    if len(dialogue) <= most:
        return dialogue
    return dialogue[-most:] if side == "start" else dialogue[:most]


def _largest(most: int, accepted: Callable[[int], bool]) -> int:
    """The largest number up to `most` that is accepted, by bisection; 0 always is."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if accepted(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _joins(char: str) -> bool:
    """Whether a character belongs to the one before it: accents, emoji parts."""
    return unicodedata.category(char) in ("Mn", "Mc", "Me", "Cf") or 0x1F3FB <= ord(char) <= 0x1F3FF
