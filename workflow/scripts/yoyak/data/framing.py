"""Token ids of framed dialogues, tokenised only once for several frames."""

from yoyak.data.prompts import PromptFrame

_PROBE = 16  # characters of a dialogue that decide whether its frame's head ends at a token's edge


def encode_texts(tokenizer, texts: list[str]) -> list[list[int]]:
    """Token ids of each text exactly as written: no special tokens, no truncation."""
    if not texts:
        return []
    return tokenizer(
        texts,
        add_special_tokens=False,
        padding=False,
        truncation=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )["input_ids"]


def encode_framed(tokenizer, frame: PromptFrame, dialogues: list[str]) -> list[list[int]]:
    """Token ids of each dialogue in its frame, the frame's prefix first."""
    prefix = list(frame.prefix_ids)
    encoded = encode_texts(tokenizer, [frame.around(text) for text in dialogues])
    return [prefix + ids for ids in encoded] if prefix else encoded


class HeadSwap:
    """Converts prompts from one frame to another by exchanging the head's tokens.

    Five templates would cost five passes over every dialogue. Where the tokenizer's pre-tokenizer
    cuts the text right between head and dialogue, for both heads, no merge crosses that point
    and the ids after it are the same; elsewhere the prompt is tokenised as a whole.
    """

    def __init__(self, tokenizer, old: PromptFrame, new: PromptFrame) -> None:
        self.tokenizer, self.old, self.new = tokenizer, old, new
        old_head, new_head = encode_texts(tokenizer, [old.head, new.head])
        self.old_length = len(old.prefix_ids) + len(old_head)
        self.new_head = list(new.prefix_ids) + new_head
        self.pre_tokenizer = _pre_tokenizer(tokenizer) if old.tail == new.tail else None
        self._cuts: dict[str, bool] = {}

    def apply(self, dialogues: list[str], encoded: list[list[int]]) -> list[list[int]]:
        """Prompts of `dialogues` in the new frame; `encoded` holds them in the old one."""
        result: list = [None] * len(dialogues)
        whole = []
        for index, text in enumerate(dialogues):
            if self._cuts_before(text[:_PROBE]):
                result[index] = self.new_head + encoded[index][self.old_length :]
            else:
                whole.append(index)
        again = encode_framed(self.tokenizer, self.new, [dialogues[index] for index in whole])
        for index, ids in zip(whole, again, strict=True):
            result[index] = ids
        return result

    def _cuts_before(self, beginning: str) -> bool:
        if self.pre_tokenizer is None:
            return False
        if beginning not in self._cuts:
            self._cuts[beginning] = all(
                any(
                    start == len(head)
                    for _, (start, _) in self.pre_tokenizer.pre_tokenize_str(head + beginning)
                )
                for head in (self.old.head, self.new.head)
            )
        return self._cuts[beginning]


def _pre_tokenizer(tokenizer):
    """The fast tokenizer's pre-tokenizer; None where positions in the raw text would not hold."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or backend.pre_tokenizer is None:
        return None
    normalizer = backend.normalizer
    if normalizer is not None and type(normalizer).__name__ != "NFC":
        return None
    return backend.pre_tokenizer
