"""How many rows are decoded at once: from the free memory, printed and recorded."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from yoyak.evaluation.decode_cache import kv_shape
from yoyak.evaluation.decoding import DecodingSettings
from yoyak.settings.config import UserError

MAX_SLOTS_GPU = 256  # more rows gain little: the step is bound by arithmetic from here on
MAX_SLOTS_CPU = 64
PREFILL_TOKENS_GPU = 16_384
PREFILL_TOKENS_CPU = 4_096
MEMORY_SHARE = 0.85  # of what is free; the rest is for fragments and the libraries' workspaces
GRAPH_SIZES = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)


@dataclass(frozen=True)
class GenerationPlan:
    """Execution, not science: in fp32 every plan gives the same tokens.

    Attributes:
        slots: rows decoded at once.
        capacity: positions of a slot: the longest prompt and max_new_tokens.
        prefill_tokens: prompt tokens in one packed forward pass (a longer prompt goes alone).
        refill: free slots that are worth a prefill.
        graphs: whether decoding steps are captured CUDA graphs.
    """

    slots: int
    capacity: int
    prefill_tokens: int
    refill: int = 1
    graphs: bool = False

    def bucket(self, rows: int) -> int:
        """The captured size that these rows use."""
        return min([self.slots, *(size for size in GRAPH_SIZES if size >= rows)])

    def as_dict(self) -> dict:
        return asdict(self)

    def describe(self) -> str:
        steps = "captured graphs" if self.graphs else "plain steps"
        return (
            f"generation: {self.slots} rows at once, {self.capacity} tokens each, prefill of "
            f"{self.prefill_tokens:,} tokens, {steps}"
        )


def plan_generation(
    model,
    prompt_lengths: list[int],
    decoding: DecodingSettings,
    *,
    batch: int | str = "auto",
) -> GenerationPlan:
    """Choose a plan for these prompts.

    Args:
        prompt_lengths: tokens of every prompt that the plan must serve.
        batch: rows at once, or "auto".

    Raises:
        UserError: an architecture that the engine cannot run, or not even one row fits.
    """
    config = causal_lm(model).config
    _check_architecture(config)
    weights = causal_lm(model).get_input_embeddings().weight
    on_gpu = weights.device.type == "cuda"
    capacity = max(prompt_lengths, default=1) + decoding.max_new_tokens
    if on_gpu:  # blocks of the decode kernel stay aligned
        capacity = -(-capacity // 8) * 8
    prefill_tokens = PREFILL_TOKENS_GPU if on_gpu else PREFILL_TOKENS_CPU
    if batch == "auto":
        batch = MAX_SLOTS_GPU if on_gpu else MAX_SLOTS_CPU
        room = _free_bytes(weights.device) * MEMORY_SHARE
        # Hidden states, MLP and one fp32 copy of a prefill; logits and their fp32 copy of a step.
        wide = 3 * config.intermediate_size + 8 * config.hidden_size
        room -= prefill_tokens * wide * weights.element_size()
        row = slot_bytes(config, capacity, weights.element_size()) + config.vocab_size * 8
        batch = min(batch, int(room // row))
        if batch < 1:
            raise UserError(
                f"one summary of {capacity} tokens needs {row / 1e9:.1f} GB beside the weights and "
                "there is less free memory; set execution.base_weights to nf4, or make "
                "dataset.encoder_max_len smaller"
            )
    slots = max(1, min(batch, len(prompt_lengths)))
    return GenerationPlan(
        slots=slots,
        capacity=capacity,
        prefill_tokens=prefill_tokens,
        refill=max(1, slots // 8),
        graphs=on_gpu,
    )


def causal_lm(model):
    """The transformers model itself; peft's wrapper is taken off, its LoRA layers stay in."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def slot_bytes(config, capacity: int, element_size: int) -> int:
    """Memory of one row's keys and values over all layers."""
    kv_heads, positions, head_dim = kv_shape(config, capacity)
    return 2 * config.num_hidden_layers * kv_heads * positions * head_dim * element_size


def _check_architecture(config) -> None:
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        raise UserError(
            f"model type '{config.model_type}' has layers of kind {', '.join(sorted(kinds))}; "
            "generation supports full attention only (Llama and Qwen3 have it)"
        )


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
