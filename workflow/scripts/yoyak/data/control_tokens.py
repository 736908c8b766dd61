"""Control tokens, which steer a model: kept out of dialogues and summaries.

"Special token" says only that a token is never split. Model makers mark their turn ends so, and
users their speaker tags and masks (#Person1#, [이름], <NAME>), which are words of the data: they
stay in dialogues and summaries. What a token does is read off its form, never off the data at hand,
so that a model's summary does not depend on the other dialogues of a file.
"""

import re
from collections.abc import Sequence

NAMED = tuple(f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
_BRACKETED = re.compile(r"▁?[<\[].*[>\]]", re.DOTALL)
# Stands in a mask of speakers or names, whatever the brackets: <|Person1|>, [speaker 2].
_NUMBERED_SPEAKER = re.compile(r"(person|speaker)[ _-]?\d", re.IGNORECASE)
_STEERS = re.compile(
    r"""[|｜] | ^</?s>$ | (?<![a-z])(
        bos|eos|bot|eot|eom|eod|eop|sop|pad|unk|cls|sep|mask|gmask|smask|special|unused|reserved|
        extra|dummy|placeholder|control|empty|start|end|begin|stop|turn|inst|think|thinking|tool|
        tools|function|prompt|fim|prefix|middle|suffix|hole|intermediate|repo|reponame|filename|
        gh|issue|jupyter|commit|image|images|img|boi|eoi|audio|boa|eoa|video|vision|multimodal
    )(?![a-z])""",
    re.IGNORECASE | re.VERBOSE,
)


def control_tokens(tokenizer) -> frozenset[str]:
    """The control tokens of a tokenizer, as text.

    They are the named ones (BOS, EOS, padding and so on), the end tokens that the checkpoint names,
    and bracketed tokens (`<…>`, `[…]`) that hold a bar or a word such as `unused` or `tool_call`,
    or stand in the chat template. Not those with letters beyond ASCII or a numbered speaker.
    """
    template = str(tokenizer.chat_template or "")
    steering = _named(tokenizer)
    return frozenset(
        token
        for token in _known(tokenizer)
        if token in steering
        or (_has_control_form(token) and (_STEERS.search(token) or token in template))
    )


def control_tokens_in(text: str, tokenizer) -> list[str]:
    """Tokens of a control token's form in a text that a chat template wrote, in its order."""
    steering = _named(tokenizer)
    pattern = _any_of(t for t in _known(tokenizer) if t in steering or _has_control_form(t))
    return pattern.findall(text) if pattern else []


def control_token_pattern(tokenizer) -> re.Pattern | None:
    """Matches the written form of control tokens such as <|eot_id|>; None if there are none.

    In a dialogue they are text that somebody typed, not commands to the model.
    """
    # A token that begins with a blank, or is a single sign, would be found again in what comes out.
    return _any_of(token for token in control_tokens(tokenizer) if re.match(r"\S\S", token))


def break_control_tokens(text: str, control_tokens: re.Pattern | None) -> str:
    """Break control tokens in a text into plain text (`<|eot_id|>` → `< |eot_id|>`)."""
    if control_tokens is None:
        return text
    while control_tokens.search(text):
        text = control_tokens.sub(lambda match: match[0][0] + " " + match[0][1:], text)
    return text


def decode_summaries(tokenizer, rows: Sequence[Sequence[int]]) -> list[str]:
    """Text of each row of generated token ids, without its special tokens that are control tokens.

    Where all of a tokenizer's special tokens are, it is the text of `skip_special_tokens=True`.
    """
    control = control_tokens(tokenizer)
    added = tokenizer.added_tokens_decoder.items()
    dropped = {number for number, token in added if token.special and str(token) in control}
    return tokenizer.batch_decode([[n for n in row if n not in dropped] for row in rows])


def _known(tokenizer) -> set[str]:
    """Tokens that are matched in a text as a whole, before it is cut into pieces."""
    return {*map(str, tokenizer.get_added_vocab()), *tokenizer.all_special_tokens}


def _named(tokenizer) -> set[str]:
    names = tokenizer.special_tokens_map
    ends = tokenizer.convert_ids_to_tokens(getattr(tokenizer, "named_end_ids", []))
    return {str(names[name]) for name in NAMED if name in names} | set(ends)


def _has_control_form(token: str) -> bool:
    if not _BRACKETED.fullmatch(token) or _NUMBERED_SPEAKER.search(token):
        return False
    return all(char.isascii() or not char.isalpha() for char in token)


def _any_of(tokens) -> re.Pattern | None:
    longest_first = sorted(set(tokens), key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
