"""What was measured once on a card, and shapes of well-known checkpoints: to plan without either.

All figures of a card are from tests/benchmarks/README.md, 2026-11-24: random weights of the true
shapes, 340 tokens an example, LoRA r=16 on all projections, the global batches of config/models/.
"""

from dataclasses import dataclass, field

from yoyak.errors import UserError
from yoyak.run.memory import ModelShape

SOURCE = "tests/benchmarks/README.md, 2026-11-24"
LLAMA_3B = ModelShape(28, 3072, 8192, 24, 8, 128, 128_256, True, fusable=True)
LLAMA_8B = ModelShape(32, 4096, 14336, 32, 8, 128, 128_256, False, fusable=True)
QWEN_4B = ModelShape(36, 2560, 9728, 32, 8, 128, 151_936, True, fusable=True, head_norms=True)
# By checkpoint, so that a study can be planned before anything is downloaded.
SHAPES = {
    "Bllossom/llama-3.2-Korean-Bllossom-3B": LLAMA_3B,
    "Qwen/Qwen3-4B-Instruct-2507": QWEN_4B,
    "MLP-KTLim/llama-3-Korean-Bllossom-8B": LLAMA_8B,
}


@dataclass(frozen=True)
class Card:
    """A kind of GPU.

    free_gib: memory of an empty card. rate: operations a second of a large bf16 product.
    training: useful tokens a second with all memory free, by shape.
    """

    name: str
    free_gib: float
    rate: float
    training: dict[ModelShape, float] = field(default_factory=dict)


CARDS = {
    "H200": Card(
        "NVIDIA H200",
        free_gib=139,
        rate=790e12,
        training={LLAMA_3B: 39_506, QWEN_4B: 28_618},
    ),
}


def card_named(name: str) -> Card:
    """The card of that name; UserError listing those that were measured."""
    if name.upper() not in CARDS:
        raise UserError(
            f"--device: no figures of '{name}' (there are: {', '.join(CARDS)}); describe another "
            "card with --gpu_memory and --rate"
        )
    return CARDS[name.upper()]


def training_rate(card: Card | None, shape: ModelShape) -> float | None:
    """Tokens a second measured on that card with that shape; None where it was not."""
    return card.training.get(shape) if card else None
