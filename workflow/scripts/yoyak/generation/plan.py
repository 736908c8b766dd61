"""Plan a generation: how many rows are decoded at once, from the free memory."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import psutil
import torch

from yoyak.errors import UserError
from yoyak.generation.decoding import DecodingSettings, Generated
from yoyak.generation.invariant import DECODING
from yoyak.models.reference import EAGER, causal_lm, has_experts
from yoyak.run.memory import ModelShape

OnRow = Callable[[int, Generated], None]

MAX_SLOTS_GPU = 256  # more rows gain little: the step is bound by arithmetic from here on
MAX_SLOTS_CPU = 64
PREFILL_TOKENS_GPU = 16_384
PREFILL_TOKENS_CPU = 4_096
MEMORY_SHARE = 0.85  # of what is free; the rest is for fragments and the libraries' workspaces
GRAPH_SIZES = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)


@dataclass(frozen=True)
class GenerationPlan:
    """How a generation is run; in fp32 every plan gives the same tokens.

    Attributes:
        slots: rows decoded at once.
        capacity: positions of a slot: the longest prompt and max_new_tokens.
        prefill_tokens: prompt tokens in one packed forward pass (a longer prompt goes alone).
        refill: free slots that are worth a prefill.
        graphs: whether decoding steps are captured CUDA graphs.
        engine: "slots", or "plain": transformers' `generate`, for which a beam counts as a row.
        attention: the implementation that `generate` runs with; None: the one that was loaded.
        cache: whether `generate` keeps keys, values and states; without, each token takes a forward
            pass over its whole row.
        batch_invariant: whether the slots give a row the same tokens in 16 bits, too, however many
            are decoded with it.
    """

    slots: int
    capacity: int
    prefill_tokens: int
    refill: int = 1
    graphs: bool = False
    engine: str = "slots"
    attention: str | None = None
    cache: bool = True
    batch_invariant: bool = False

    def bucket(self, rows: int) -> int:
        """The captured size that these rows use."""
        if self.batch_invariant:  # fewer rows than a block take as long as a block
            return min(self.slots, -(-rows // DECODING) * DECODING)
        return min([self.slots, *(size for size in GRAPH_SIZES if size >= rows)])

    def as_dict(self) -> dict:
        return asdict(self)

    def describe(self) -> str:
        if self.engine == "plain":
            return (
                f"generation: transformers' generate, {self.slots} rows at once, {self.capacity} "
                f"tokens each{'' if self.cache else ', without a cache'}"
            )
        steps = "captured graphs" if self.graphs else "plain steps"
        return (
            f"generation: {self.slots} rows at once, {self.capacity} tokens each, prefill of "
            f"{self.prefill_tokens:,} tokens, {steps}"
            f"{', the same text at any batch' if self.batch_invariant else ''}"
        )


class OutOfMemory(UserError):
    """The plan does not fit after all: another process took memory, or the estimate was wrong."""


def too_many_rows(plan: GenerationPlan) -> OutOfMemory:
    return OutOfMemory(
        f"the device's memory is too small for {plan.slots} rows at once; set "
        f"execution.generation_batch to {max(1, plan.slots // 2)} or less"
    )


def plan_generation(
    model,
    prompt_lengths: list[int],
    decoding: DecodingSettings,
    *,
    batch: int | str = "auto",
    engine: str = "slots",
    attention: str | None = None,
    cache: bool = True,
    batch_invariant: bool = True,
) -> GenerationPlan:
    """Choose a plan for these prompts.

    Args:
        prompt_lengths: tokens of every prompt that the plan must serve.
        batch: rows at once, or "auto".
        engine, attention, cache: as in GenerationPlan.
        batch_invariant: as there, on a GPU and without experts; on a CPU, in float32, nothing is to
            be done for it.

    Raises:
        UserError: not even one row fits.
    """
    model = causal_lm(model)
    shape = ModelShape.from_config(model.config)
    weights = model.get_input_embeddings().weight
    on_gpu = weights.device.type == "cuda"
    longest = max(prompt_lengths, default=1)
    capacity = longest + decoding.max_new_tokens
    if on_gpu:  # blocks of the decode kernel stay aligned
        capacity = -(-capacity // 8) * 8
    prefill_tokens = PREFILL_TOKENS_GPU if on_gpu else PREFILL_TOKENS_CPU
    if isinstance(batch, str):  # auto
        batch = MAX_SLOTS_GPU if on_gpu else MAX_SLOTS_CPU
        room = _free_bytes(weights.device) * MEMORY_SHARE
        # Hidden states, MLP and one fp32 copy of a prefill; logits and their fp32 copy of a step.
        size = weights.element_size()
        wide = (3 * shape.intermediate + 8 * shape.hidden + shape.state) * size
        kept = 2 * shape.layers * shape.key_value * capacity * size  # keys and values of a row
        row = shape.vocabulary * 8
        if engine == "slots":
            room -= prefill_tokens * wide
            row += kept
        else:
            row += longest * wide + 2 * kept  # transformers' cache grows by copying
            if (attention or model.config._attn_implementation) == EAGER:
                row += shape.heads * longest**2 * (size + 8)
        batch = min(batch, int(room // row))
        if batch < 1:
            raise UserError(
                f"one summary of {capacity} tokens needs {row / 1e9:.1f} GB beside the weights and "
                "there is less free memory; set execution.base_weights to nf4, or make "
                "tokenizer.encoder_max_len smaller"
            )
    slots = max(1, min(batch, len(prompt_lengths) * decoding.num_beams))
    return GenerationPlan(
        slots=slots,
        capacity=capacity,
        prefill_tokens=prefill_tokens,
        refill=max(1, slots // 8),
        graphs=on_gpu and engine == "slots",
        engine=engine,
        attention=attention,
        cache=cache,
        batch_invariant=(
            batch_invariant and on_gpu and engine == "slots" and not has_experts(model)
        ),
    )


def refuse_empty(prompts: list[list[int]]) -> None:
    for index, prompt in enumerate(prompts):
        if not prompt:
            raise UserError(f"prompt {index} is empty: a summary needs at least one token")


def check_positions(model, needed: int) -> None:
    """UserError where learned positions end before the longest row: nothing could be read there."""
    config = causal_lm(model).config.get_text_config()
    for name, part in model.named_modules():
        learned = "pos" in name.rsplit(".", 1)[-1] or name.endswith("wpe")
        known = getattr(config, "max_position_embeddings", None)
        if learned and isinstance(part, torch.nn.Embedding) and known and needed > known:
            raise UserError(
                f"model type '{config.model_type}' knows {known} positions, the longest prompt "
                f"with its summary takes {needed}: make tokenizer.encoder_max_len or "
                "generation.max_new_tokens smaller"
            )


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    return psutil.virtual_memory().available
