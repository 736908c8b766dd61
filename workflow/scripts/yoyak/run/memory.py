"""Memory and time of a training, from the model's shape alone: nothing is loaded."""

from dataclasses import dataclass

GIB = 1024**3
HEAD_CHUNK = 1024  # supervised positions whose logits are alive at once (training.loss)
MARGIN = 1.06  # of activations, so that predictions err on the large side
ROOM = 64  # columns beside a fused weight for its adapters (models.fused)
FUSED_TYPES = ("llama", "qwen3")
# Shares of a device's product rate (16384 × 8192 × 8192) that whole steps reached: measured on
# one H200 with 330 tokens an example, and on two CPU cores with the embedded models.
SPEED = {"fused": 0.55, "plain": 0.30, "cpu": 0.15}


@dataclass(frozen=True)
class ModelShape:
    """What memory and time depend on. All sizes are counts, not bytes."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    fusable: bool = False
    head_norms: bool = False

    @classmethod
    def from_config(cls, config) -> "ModelShape":
        """From a transformers PretrainedConfig of a decoder-only model."""
        heads = config.num_attention_heads
        kind = getattr(config, "model_type", "")
        plain = not (
            getattr(config, "attention_bias", False)
            or getattr(config, "mlp_bias", False)
            or getattr(config, "use_sliding_window", False)
        )
        return cls(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            intermediate=config.intermediate_size,
            heads=heads,
            kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            vocabulary=config.vocab_size,
            tied=bool(config.tie_word_embeddings),
            fusable=kind in FUSED_TYPES and plain and config.hidden_act == "silu",
            head_norms=kind == "qwen3",
        )

    @property
    def query(self) -> int:
        return self.heads * self.head_dim

    @property
    def key_value(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def linear_parameters(self) -> int:
        """Weights of all decoder projections: those that NF4 holds in 4 bits."""
        attention = self.hidden * (2 * self.query + 2 * self.key_value)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def embedding_parameters(self) -> int:
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    def lora_parameters(self, r: int) -> int:
        """Adapters of rank r on all seven projections."""
        ends = 2 * (self.hidden + self.query) + 2 * (self.hidden + self.key_value)
        return self.layers * r * (ends + 3 * (self.hidden + self.intermediate))


def predict_bytes(
    shape: ModelShape,
    *,
    lora_rank: int,
    use_qlora: bool,
    base_weights: str,
    token_budget: int,
    gradient_checkpointing: bool,
    compile: bool,
    own_head: bool = True,
    supervised_share: float = 0.25,
    scores: int = 0,
) -> int:
    """Peak memory of a training step on a GPU, in bytes; errs on the large side.

    Args:
        own_head: logits come in chunks; else all supervised positions' are alive at once.
        supervised_share: tokens that carry a loss, as a share of all.
        scores: attention scores that one token keeps in a layer, where they are written out.

    tests/benchmarks/README.md compares it with measured peaks.
    """
    four_bit = use_qlora and base_weights == "nf4"
    wide = 1.03 if compile else 1.0
    weights = shape.linear_parameters * (0.53 if four_bit else 2 * wide)
    weights += shape.embedding_parameters * 2
    if four_bit:  # one product at a time is dequantised, the widest is gate with up
        weights += 2 * (2 if compile else 1) * shape.intermediate * (shape.hidden + ROOM)
    # fp32 adapter, gradient, two AdamW moments, and what an optimiser step needs in passing
    adapters = shape.lora_parameters(lora_rank) * 20
    if not lora_rank:  # all weights are trained in their own type: gradient, two moments
        adapters = (shape.linear_parameters + shape.embedding_parameters) * 8
    layer = _fused_layer(shape) if compile else _plain_layer(shape) + 6 * scores
    kept = (
        shape.layers * 2 * shape.hidden + layer if gradient_checkpointing else shape.layers * layer
    )
    # Logits, their float32 copy and their gradient are gone before the layers' backward pass.
    alive = token_budget * min(1.0, 1.5 * supervised_share)
    logits = (min(token_budget, HEAD_CHUNK) if own_head else alive) * shape.vocabulary * 10
    passing = 2 * (shape.intermediate + 6 * shape.query + 6 * shape.hidden) if compile else 0
    rest = max(logits, token_budget * passing)
    return int(weights + adapters + MARGIN * token_budget * kept + rest)


def _plain_layer(shape: ModelShape) -> int:
    """Bytes that one token keeps in one decoder layer of transformers and PEFT."""
    attention = 2 * (shape.query + shape.key_value)
    return 2 * (8 * shape.hidden + 2 * attention + 6 * shape.intermediate)


def _fused_layer(shape: ModelShape) -> int:
    """Bytes that one token keeps in one fused decoder layer: see FusedLayer.run's list."""
    qkv = shape.query + 2 * shape.key_value
    turned = shape.query + shape.key_value if shape.head_norms else 0
    inner = 2 * shape.query + ROOM + 3 * shape.intermediate + ROOM
    return 2 * (4 * shape.hidden + 2 * ROOM + qkv + turned + inner + 8)


def operations(shape: ModelShape, lora_rank: int, recompute: bool) -> float:
    """Floating-point operations that one token of training needs in the weights.

    A base weight: 2 forward, 2 for the gradient of its input, 2 to compute it again; an adapter's
    weight 6.
    """
    base = 6 if recompute else 4
    return base * shape.linear_parameters + 6 * shape.lora_parameters(lora_rank)


def expected_seconds(
    shape: ModelShape,
    *,
    lora_rank: int,
    tokens: int,
    rate: float,
    cuda: bool,
    gradient_checkpointing: bool,
    compile: bool,
) -> float:
    """Time of a training, a rough estimate.

    Args:
        tokens: all tokens to be trained on. rate: the device's operations a second in a large
            product, measured (see scripts/plan.py) or from its data sheet.
    """
    share = SPEED["cpu"] if not cuda else SPEED["fused" if compile else "plain"]
    return tokens * operations(shape, lora_rank, gradient_checkpointing) / (rate * share)
