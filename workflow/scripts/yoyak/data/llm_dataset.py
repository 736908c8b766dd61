"""Tokenised examples: prompt, summary and stop token; only summary and stop token carry a loss."""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from yoyak.config.prompt_files import find_prompts
from yoyak.config.prompts import BY_LANGUAGE, Prompts
from yoyak.data.encoding import encode_answers, encode_prompts
from yoyak.data.prompts import check_choice, prompt_frames
from yoyak.errors import UserError, display, one_line

IGNORED = -100  # label of a position that carries no loss
_TENSORS = {
    "input_ids": torch.int32,
    "offsets": torch.int64,
    "prompt_lengths": torch.int32,
    "dialogue_index": torch.int32,
}


class LLMSummarizationDataset(Dataset):
    """One example per dialogue, in the dialogues' order.

    An item is {"input_ids": LongTensor (L,), "labels": LongTensor (L,)}; labels are -100 on the
    prompt. The mask goes by the prompt's length, never by a token's id, so that the stop token is
    learned even where it is also the padding token.

    Flat storage, all examples end to end:
        input_ids: (tokens,) int32; example i is input_ids[offsets[i]:offsets[i + 1]].
        offsets: (examples + 1,) int64.
        prompt_lengths: (examples,) int32, tokens before the answer.
        dialogue_index: (examples,) int32, number of the dialogue that an example came from.
        statistics: dict of counts, JSON-ready.
    Beside it, unless it was loaded from a file:
        summaries: the dialogues' own, as they were given.
        texts: the prompts that they were made with.

    Args:
        dialogues, summaries: equally many texts; one turn per line.
        encoder_max_len: most tokens of a prompt; a longer one is truncated, always in its dialogue
            (data/encoding.py).
        decoder_max_len: most tokens of a generated summary; longer references are counted but not
            truncated.
        format_type: "instruction" or "chat". language: of the dialogues, "ko" or "en".
        prompts: a file of config/prompts/ without .yaml, or its content; None: by the language.
        truncate_dialogue: the end at which a long dialogue loses turns, "start" or "end".

    Raises:
        UserError: no rows, a row without text, or what `prompt_frames` and `encode_prompts` refuse.
    """

    augmentation = "none"
    summaries: Sequence[str] = ()
    texts: Prompts | None = None

    def __init__(
        self,
        dialogues: Sequence[str],
        summaries: Sequence[str],
        tokenizer,
        encoder_max_len: int = 1024,
        decoder_max_len: int = 200,
        format_type: str = "instruction",
        *,
        language: str = "ko",
        prompts: Prompts | str | None = None,
        truncate_dialogue: str = "start",
    ) -> None:
        texts, summaries = _texts(dialogues, "dialogue"), _texts(summaries, "summary")
        if len(texts) != len(summaries):
            raise UserError(f"{len(texts)} dialogues and {len(summaries)} summaries: not as many")
        if not texts:
            raise UserError("no dialogues to build examples from")
        check_choice("truncate_dialogue", truncate_dialogue, ("start", "end"))
        self.tokenizer, self.language, self.summaries = tokenizer, language, summaries
        check_choice("language", language, tuple(BY_LANGUAGE))
        self.texts = find_prompts(prompts, language)
        frames = prompt_frames(tokenizer, format_type, self.texts, self.augmentation)
        answers = encode_answers(summaries, tokenizer, format_type)
        encoded = encode_prompts(texts, frames, tokenizer, encoder_max_len, truncate_dialogue)
        count = len(frames)
        examples: list = [None] * (count * len(texts))
        prompt_lengths = np.zeros(len(examples), dtype=np.int32)
        shortened = np.zeros(len(examples), dtype=bool)
        for number, framed in enumerate(encoded):
            for index, (prompt, answer) in enumerate(zip(framed, answers, strict=True)):
                place = index * count + number
                examples[place] = np.array(prompt.input_ids + answer, dtype=np.int32)
                prompt_lengths[place] = len(prompt.input_ids)
                shortened[place] = prompt.shortened
        lengths = np.array([len(ids) for ids in examples], dtype=np.int64)
        self.input_ids = torch.from_numpy(np.concatenate(examples))
        self.offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]))
        self.prompt_lengths = torch.from_numpy(prompt_lengths)
        self.dialogue_index = torch.from_numpy(
            np.repeat(np.arange(len(texts), dtype=np.int32), count)
        )
        self.statistics = {
            "format": format_type,
            "language": language,
            "augmentation": self.augmentation,
            "decoder_max_len": decoder_max_len,
            "encoder_max_len": encoder_max_len,
            "truncate_dialogue": truncate_dialogue,
            "requests": [frame.request for frame in frames],
            "dialogues": len(texts),
            **_count(lengths, prompt_lengths, shortened, decoder_max_len),
        }

    def _format_instruction(self, dialogue: str, summary: str) -> str:
        """The text of an example in instruction format, without BOS and stop token."""
        return self._format("instruction", dialogue, summary)

    def _format_chat(self, dialogue: str, summary: str) -> str:
        """The text of an example in the tokenizer's own chat format, without the stop token."""
        return self._format("chat", dialogue, summary)

    def _format(self, format_type: str, dialogue: str, summary: str) -> str:
        texts = find_prompts(self.texts, self.language)
        frame = prompt_frames(self.tokenizer, format_type, texts)[0]
        return frame.around(dialogue) + summary

    def __len__(self) -> int:
        return len(self.prompt_lengths)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        index = range(len(self))[index]  # negative and out-of-range indices as in a list
        start, end = self.offsets[index : index + 2].tolist()
        input_ids = self.input_ids[start:end].long()
        labels = input_ids.clone()
        labels[: int(self.prompt_lengths[index])] = IGNORED
        return {"input_ids": input_ids, "labels": labels}

    def prompts(self) -> list[list[int]]:
        """Token ids of each dialogue's generation prompt: that of the first request."""
        first = torch.nonzero(self.dialogue_index.diff(prepend=torch.tensor([-1]))).flatten()
        return [
            self.input_ids[self.offsets[place] :][: self.prompt_lengths[place]].tolist()
            for place in first
        ]

    @property
    def lengths(self) -> torch.Tensor:
        """(examples,) int64, tokens of each example."""
        return self.offsets.diff()

    @property
    def supervised_tokens(self) -> int:
        """Tokens that carry a loss, over all examples."""
        return int(self.lengths.sum() - self.prompt_lengths.sum())

    def digest(self) -> str:
        """SHA-256 of all tokens and of which ones carry a loss, hexadecimal."""
        parts = (getattr(self, name).contiguous().numpy().tobytes() for name in _TENSORS)
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def save(self, path: Path) -> None:
        """Write the flat tensors as safetensors; equal examples give equal bytes."""
        from safetensors.torch import save_file

        save_file({name: getattr(self, name).contiguous() for name in _TENSORS}, path)
        Path(path).chmod(0o644)  # safetensors writes for the owner only

    @classmethod
    def load(cls, path: Path) -> "LLMSummarizationDataset":
        """Read what `save` wrote; `statistics` stays empty.

        Raises UserError when the file is missing, broken or of another shape.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        shown = display(Path(path))
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:150]
            raise UserError(
                f"{shown}: cannot be read ({reason}); build the examples again"
            ) from None
        found = {name: tensor.dtype for name, tensor in tensors.items()}
        if found != _TENSORS or not _consistent(tensors):
            raise UserError(f"{shown}: contains no tokenised examples; build the examples again")
        dataset = LLMSummarizationDataset.__new__(LLMSummarizationDataset)
        for name, tensor in tensors.items():
            setattr(dataset, name, tensor)
        dataset.statistics = {}
        return dataset


class InstructionAugmentedDataset(LLMSummarizationDataset):
    """Five examples per dialogue, one for each request; a dialogue's five are consecutive."""

    augmentation = "templates"


def create_llm_dataset(
    dialogues: Sequence[str],
    summaries: Sequence[str],
    tokenizer,
    encoder_max_len: int = 1024,
    decoder_max_len: int = 200,
    format_type: str = "chat",
    *,
    use_instruction_augmentation: bool = False,
    language: str = "ko",
    prompts: Prompts | str | None = None,
    truncate_dialogue: str = "start",
) -> LLMSummarizationDataset:
    """The examples of these texts; with the augmentation, five for each dialogue.

    Arguments and errors as LLMSummarizationDataset's.
    """
    augmented = use_instruction_augmentation
    kind = InstructionAugmentedDataset if augmented else LLMSummarizationDataset
    return kind(
        dialogues, summaries, tokenizer, encoder_max_len, decoder_max_len, format_type,
        language=language, prompts=prompts, truncate_dialogue=truncate_dialogue,
    )  # fmt: skip


def _texts(column: Sequence[str], name: str) -> list[str]:
    """A column's texts; UserError naming the first row without one."""
    if isinstance(column, str):
        raise UserError(f"{name}: one text, where a list of texts is wanted")
    texts = list(column)
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str) or not text.strip():
            found = "no text" if isinstance(text, str) else f"{one_line(repr(text))[:40]}, no text"
            raise UserError(f"row {number}: its {name} is {found}; fill the cell or drop the row")
    return texts


def _count(lengths, prompt_lengths, shortened, decoder_max_len: int) -> dict:
    answers = lengths - prompt_lengths
    return {
        "examples": len(lengths),
        "tokens": int(lengths.sum()),
        "supervised_tokens": int(answers.sum()),
        "example_tokens": _percentiles(lengths),
        "prompt_tokens": _percentiles(prompt_lengths),
        "answer_tokens": _percentiles(answers),
        "prompts_shortened": int(shortened.sum()),
        # Still trained on in full, though no generated summary can be as long.
        "answers_over_decoder_max_len": int((answers > decoder_max_len).sum()),
    }


def _percentiles(values) -> dict:
    """Nearest-rank percentiles, minimum, maximum and mean of token counts."""
    ordered = np.sort(values)
    count = len(ordered)
    ranks = {f"p{q}": int(ordered[max(0, math.ceil(q / 100 * count) - 1)]) for q in (5, 50, 95, 99)}
    mean = round(float(ordered.mean()), 2)
    return {"min": int(ordered[0]), **ranks, "max": int(ordered[-1]), "mean": mean}


def _consistent(tensors: dict[str, torch.Tensor]) -> bool:
    offsets, prompts = tensors["offsets"], tensors["prompt_lengths"]
    if len(offsets) < 2 or len(offsets) - 1 != len(prompts):
        return False
    lengths = offsets.diff()
    whole = int(offsets[0]) == 0 and int(offsets[-1]) == len(tensors["input_ids"])
    return whole and bool((prompts >= 0).all()) and bool((lengths > prompts).all())
