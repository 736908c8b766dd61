"""Few-shot prompts: the frame of a format with solved examples of train before every dialogue.

Instruction format has them where `{examples}` stands in its text, an answer ending as it does in
training: with the stop token. Chat format has them as earlier turns, written by the tokenizer's own
chat template.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import replace

from yoyak.config.model_config import ModelConfig
from yoyak.config.prompts import Prompts
from yoyak.data.chat_frames import earlier_turns
from yoyak.data.control_tokens import break_control_tokens, control_token_pattern
from yoyak.data.dialogues import Dialogue
from yoyak.data.framing import encode_framed, encode_texts
from yoyak.data.prompts import (
    PromptFrame,
    filled,
    instruction_frame,
    prompt_frames,
    supervised_stop_id,
    user_message,
)
from yoyak.errors import UserError
from yoyak.run.workspace import hash_text

SEED = 0  # of the choice: the same examples whatever seeds a study has
EXAMPLES_SHARE = 1 / 2  # of encoder_max_len, which all examples together may take
LEAST_SHARE = 1 / 4  # of encoder_max_len, which must be left for the dialogue


def choose_examples(
    rows: Sequence[Dialogue],
    count: int,
    tokenizer,
    config: ModelConfig,
    prompt_format: str,
    prompts: Prompts,
) -> list[Dialogue]:
    """The first `count` of the shuffled train rows that are short enough: an equal share of a half.

    Raises UserError where train has fewer, or where too little is left for a dialogue.
    """
    limit = config.tokenizer.encoder_max_len
    most = int(limit * EXAMPLES_SHARE / count)
    bare, empty = (
        _length(tokenizer, few_shot_frame(tokenizer, prompt_format, prompts, examples))
        for examples in ([], [Dialogue("", "", ("",))])
    )
    chosen: list[Dialogue] = []
    for row in random.Random(SEED).sample(rows, len(rows)):
        texts = encode_texts(tokenizer, [row.dialogue, row.summary])
        if empty - bare + sum(map(len, texts)) <= most:
            chosen.append(row)
        if len(chosen) == count:
            break
    cure = "lower few_shot or raise tokenizer.encoder_max_len"
    if len(chosen) < count:
        raise UserError(
            f"few_shot: {count} examples are wanted, and {len(chosen)} of {len(rows)} train "
            f"dialogues take, with their summaries, at most {most} tokens (half of "
            f"tokenizer.encoder_max_len, {limit}, shared by {count}); {cure}"
        )
    taken = _length(tokenizer, few_shot_frame(tokenizer, prompt_format, prompts, chosen))
    if limit - taken < limit * LEAST_SHARE:
        raise UserError(
            f"few_shot: {count} examples and the frame around them take {taken} of the "
            f"{limit} tokens of tokenizer.encoder_max_len, of which a quarter must be left for the "
            f"dialogue; {cure}"
        )
    return chosen


def few_shot_frame(
    tokenizer, prompt_format: str, prompts: Prompts, examples: Sequence[Dialogue]
) -> PromptFrame:
    """The frame to generate with, its head going on with these examples; none: the zero-shot one.

    Raises UserError as `prompt_frames` does, for prompts without a place for examples, and for a
    chat template that hides earlier turns.
    """
    frame = prompt_frames(tokenizer, prompt_format, prompts)[0]
    if not examples:
        return frame
    texts = prompts.used(prompt_format, few_shot=len(examples))
    control_tokens = control_token_pattern(tokenizer)
    pairs = [
        tuple(break_control_tokens(text, control_tokens) for text in (row.dialogue, row.summary))
        for row in examples
    ]
    if texts.chat is not None:
        message, sentence = user_message(texts.chat, frame.request), texts.chat.system or ""
        return replace(frame, head=earlier_turns(tokenizer, message, sentence, frame.system, pairs))
    assert texts.instruction is not None and texts.instruction.example is not None
    stop = tokenizer.convert_ids_to_tokens(supervised_stop_id(tokenizer, prompt_format))
    solved = "".join(
        filled(texts.instruction.example, dialogue=dialogue, summary=answer, end=stop)
        for dialogue, answer in pairs
    )
    return instruction_frame(texts.instruction, frame.prefix_ids, frame.request, solved)


def few_shot_record(examples: Sequence[Dialogue]) -> dict:
    """What run.json says of the examples: their names, and a SHA-256 of their texts."""
    texts = [[row.dialogue, row.summary] for row in examples]
    digest = hash_text(json.dumps(texts, ensure_ascii=False))
    return {"examples": [row.fname for row in examples], "seed": SEED, "sha256": digest}


def _length(tokenizer, frame: PromptFrame) -> int:
    return len(encode_framed(tokenizer, frame, [""])[0])
