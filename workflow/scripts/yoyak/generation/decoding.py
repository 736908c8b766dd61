"""How the next token is chosen: explicit settings, never a checkpoint's own sampling defaults."""

import hashlib
from dataclasses import asdict, dataclass

import torch

from yoyak.config.model_config import ModelConfig


@dataclass(frozen=True)
class DecodingSettings:
    """Everything besides weights and prompt that decides a summary; stored with the predictions.

    Greedy unless `do_sample` or `num_beams` says otherwise. There is no minimum length.
    """

    max_new_tokens: int
    num_beams: int = 1
    length_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    repetition_penalty: float = 1.0
    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 42

    @classmethod
    def from_config(cls, config: ModelConfig) -> "DecodingSettings":
        """From a model config; `max_new_tokens: null` means tokenizer.decoder_max_len."""
        settings = config.generation.model_dump()
        if settings["max_new_tokens"] is None:
            settings["max_new_tokens"] = config.tokenizer.decoder_max_len
        return cls(**settings)

    def as_dict(self) -> dict:
        """Only what takes effect: greedy decoding has no temperature."""
        idle = {"length_penalty": self.num_beams == 1}
        idle |= dict.fromkeys(("temperature", "top_p", "seed"), not self.do_sample)
        idle |= {"no_repeat_ngram_size": not self.no_repeat_ngram_size}
        idle |= {"repetition_penalty": self.repetition_penalty == 1}
        return {key: value for key, value in asdict(self).items() if not idle.get(key)}

    @property
    def beyond_slots(self) -> list[str]:
        """The keys by which transformers' `generate` alone continues a prompt."""
        keys = ("num_beams", "no_repeat_ngram_size", "repetition_penalty")
        defaults = DecodingSettings
        return [f"generation.{key}" for key in keys if getattr(self, key) != getattr(defaults, key)]


@dataclass(frozen=True)
class Generated:
    """One summary: its tokens without the stop token, how many were decoded, and why it ended.

    `finish` is "stop" (a stop token came) or "length" (max_new_tokens was reached).
    """

    tokens: list[int]
    new_tokens: int
    finish: str


def choose_tokens(
    logits: torch.Tensor, decoding: DecodingSettings, uniforms: torch.Tensor | None
) -> torch.Tensor:
    """The next token of each row.

    Args:
        logits: (rows, vocabulary).
        uniforms: (rows,) numbers in [0, 1), needed for sampling only.

    Returns:
        (rows,) int64. No step of it waits for the device.
    """
    if not decoding.do_sample:
        return logits.argmax(dim=-1)
    assert uniforms is not None
    probabilities = torch.softmax(logits.float() / decoding.temperature, dim=-1)
    probabilities, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
    reached = probabilities.cumsum(dim=-1)
    # A token stays if the likelier ones before it do not yet make up top_p: the first always does.
    kept = probabilities * (reached - probabilities < decoding.top_p)
    kept = kept.cumsum(dim=-1)
    place = (kept <= uniforms[:, None] * kept[:, -1:]).sum(dim=-1, keepdim=True)
    return tokens.gather(-1, place.clamp(max=tokens.shape[-1] - 1)).squeeze(-1)


def draw_uniforms(prompt: list[int], decoding: DecodingSettings) -> torch.Tensor:
    """(max_new_tokens + 1,) float32 in [0, 1): one row's draws for sampling.

    They depend on the seed and the prompt alone, so that batch and order do not matter.
    """
    text = f"{decoding.seed}:{','.join(map(str, prompt))}".encode()
    key = int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
    generator = torch.Generator().manual_seed(key)
    return torch.rand(decoding.max_new_tokens + 1, generator=generator)
