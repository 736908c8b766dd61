"""Memory and time of a training, from the model's shape alone: nothing is loaded."""

import copy
from dataclasses import dataclass
from types import SimpleNamespace

from yoyak.errors import UserError

GIB = 1024**3
HEAD_CHUNK = 1024  # supervised positions whose logits are alive at once (training.loss)
MARGIN = 1.06  # of activations, so that predictions err on the large side
ROOM = 64  # columns beside a fused weight for its adapters (kernels/products.py)
FUSED_TYPES = ("llama", "mistral", "qwen2", "qwen3")
SANDWICH_TYPES = ("gemma2", "gemma3_text", "gemma3n_text", "gemma4_text", "glm4", "exaone4")
# Shares of a device's product rate (16384 × 8192 × 8192) that whole steps reached: measured on
# one H200 with 330 tokens an example, and on two CPU cores with the embedded models.
SPEED = {"fused": 0.55, "compiled": 0.48, "own": 0.30, "cpu": 0.15}
DORA_SLOWER = 4.5  # than LoRA in the model's own layers: measured on one H200, 3.8 to 5.0


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
    unquantised: int = 0  # weights that NF4 leaves in 16 bits: routed experts, embeddings of layers
    state: int = 0  # numbers that a state-space layer keeps for every token
    more_norms: int = 0  # of a layer's input or output, beyond the usual two
    positions: int = 0  # tokens that the model was made for; 0 where its config names no limit

    @classmethod
    def from_config(cls, config) -> "ModelShape":
        """From a transformers config of any decoder, or an object with a config.json's values.

        Approximate for unusual architectures, and then too large rather than too small. Raises
        UserError if the number of layers, their width or the vocabulary size is missing.
        """
        config = _text_part(config)
        layers = _number(config, "num_hidden_layers", "n_layer", "n_layers", "num_layers")
        hidden = _number(config, "hidden_size", "n_embd", "d_model")
        vocabulary = _number(config, "vocab_size")
        if not (layers and hidden and vocabulary):
            raise UserError(
                "model.checkpoint: its config.json lacks the number of layers, the hidden size "
                "or the vocabulary size; choose a causal language model"
            )
        heads = _number(config, "num_attention_heads", "n_head", "n_heads", "attention_heads")
        heads = heads or max(1, hidden // 64)
        head_dim = max(
            _number(config, "head_dim", "kv_channels") or hidden // heads,
            _number(config, "global_head_dim"),
            _number(config, "v_head_dim"),
            _number(config, "qk_nope_head_dim") + _number(config, "qk_rope_head_dim"),
        )
        kind = getattr(config, "model_type", "")
        experts, expert_size, used = _experts(config)
        beside = _number(config, "vocab_size_per_layer_input")
        beside *= _number(config, "hidden_size_per_layer_input") * layers
        return cls(
            layers=layers,
            hidden=hidden,
            intermediate=max(_mlp_size(config, hidden) if not experts else 0, used),
            heads=heads,
            kv_heads=_number(config, "num_key_value_heads", "num_kv_heads") or heads,
            head_dim=head_dim,
            vocabulary=vocabulary,
            tied=bool(getattr(config, "tie_word_embeddings", False)),
            fusable=kind in FUSED_TYPES and _as_fused(config),
            head_norms=kind == "qwen3",
            unquantised=layers * experts * 3 * hidden * expert_size + beside,
            state=_state(config, hidden),
            more_norms=2 if kind in SANDWICH_TYPES else 0,
            positions=_number(config, "max_position_embeddings", "n_positions"),
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
    def outputs(self) -> int:
        """Of the seven projections of a layer together."""
        return self.query + 2 * self.key_value + 2 * self.hidden + 2 * self.intermediate

    @property
    def embedding_parameters(self) -> int:
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All weights but those of the norms."""
        return self.linear_parameters + self.embedding_parameters + self.unquantised

    def lora_parameters(self, r: int) -> int:
        """Adapters of rank r on all seven projections."""
        ends = 2 * (self.hidden + self.query) + 2 * (self.hidden + self.key_value)
        return self.layers * r * (ends + 3 * (self.hidden + self.intermediate))


def _text_part(config):
    """The decoder's own config where it is one part of several."""
    inner = getattr(config, "text_config", None)
    if isinstance(inner, dict):
        inner = SimpleNamespace(**inner)
    part = config if inner is None else inner
    if getattr(part, "is_heterogeneous", False):  # layers differ: of Gemma 4 in the heads' size
        part = copy.copy(part)
        part.allow_global_per_layer_attribute_access = True
    return part


def _value(place, name: str):
    return place.get(name) if isinstance(place, dict) else getattr(place, name, None)


def _number(config, *names: str) -> int:
    """The first of these keys that the config has, also in a part of its own; 0 if none.

    Of a list, one number a layer, the largest.
    """
    for place in (config, *(_value(config, part) for part in ("ffn_config", "attn_config"))):
        for name in names:
            value = _value(place, name)
            if isinstance(value, list | tuple):
                numbers = [item for item in value if isinstance(item, int | float)]
                value = max(numbers, default=None)
            if isinstance(value, int | float) and value > 0:
                return int(value)
    return 0


def _mlp_size(config, hidden: int) -> int:
    names = ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size", "dff")
    return _number(config, *names) or 4 * hidden


def _experts(config) -> tuple[int, int, int]:
    """Of a mixture: routed experts of a layer, width of each, width that one token goes through."""
    experts = _number(
        config, "num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"
    )
    if experts < 2 or getattr(config, "is_moe", None) is False:
        return 0, 0, 0
    dense = _mlp_size(config, 0)
    size = _number(config, "moe_intermediate_size") or dense
    names = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_k", "moe_topk")
    chosen = _number(config, *names) or min(experts, 8)
    shared = _number(config, "shared_expert_intermediate_size", "shared_intermediate_size")
    shared = shared or size * _number(config, "n_shared_experts", "num_shared_experts")
    return experts, size, max(dense, chosen * size + shared)


def _state(config, hidden: int) -> int:
    size = _number(config, "state_size", "mamba_d_state", "ssm_state_size")
    width = _number(config, "mamba_d_ssm") or hidden * (
        _number(config, "expand", "mamba_expand") or 2
    )
    return size * width


def _as_fused(config) -> bool:
    """Whether layers of the fused types are just as the fused ones are."""
    plain = not getattr(config, "attention_dropout", None)
    return plain and getattr(config, "hidden_act", None) == "silu"


def predict_bytes(
    shape: ModelShape,
    *,
    lora_rank: int,
    use_qlora: bool,
    base_weights: str,
    token_budget: int,
    gradient_checkpointing: bool,
    layers: str,
    own_head: bool = True,
    supervised_share: float = 0.25,
    scores: int = 0,
    dora: bool = False,
    graphs: bool = False,
    float32: bool = False,
) -> int:
    """Peak memory of a training step on a GPU, in bytes; errs on the large side.

    Args:
        own_head: logits come in chunks; else all supervised positions' are alive at once.
        supervised_share: tokens that carry a loss, as a share of all.
        scores: attention scores that one token keeps in a layer, where they are written out.
        dora: adapters with magnitudes, as PEFT computes them.
        graphs: packs run as CUDA graphs, whose memory nothing else may use.
        float32: weights and activations have 32 bits, as where a model's dtype is fp32.

    tests/benchmarks/README.md compares it with measured peaks.
    """
    four_bit = use_qlora and base_weights == "nf4"
    fused = layers == "fused"
    wide = 1.03 if fused else 1.0
    size = 4 if float32 else 2
    weights = shape.linear_parameters * (0.53 if four_bit else size * wide)
    weights += (shape.embedding_parameters + shape.unquantised) * size
    if four_bit:  # one product at a time is dequantised, the widest is gate with up
        weights += 2 * (2 if fused else 1) * shape.intermediate * (shape.hidden + ROOM)
    # fp32 adapter, gradient, two AdamW moments, and what an optimiser step needs in passing
    adapters = shape.lora_parameters(lora_rank) * 20
    if not lora_rank:  # all weights are trained in their own type: gradient, two moments
        adapters = shape.parameters * 8
    layer = _fused_layer(shape) if fused else _own_layer(shape, layers) * size // 2 + 6 * scores
    if dora:  # base and adapter results of every projection; A·B and its like for one at a time
        adapters += 20 * shape.layers * shape.outputs
        layer += 10 * shape.outputs
        weights += 4 * shape.intermediate**2 + 14 * shape.intermediate * shape.hidden
    kept = shape.layers * (size * shape.hidden if gradient_checkpointing else layer)
    if fused and not gradient_checkpointing:  # the last one computes no other positions
        kept -= layer - _fused_layer(shape, supervised_share)
    again = MARGIN * layer if gradient_checkpointing else 0
    # Logits, their float32 copy and their gradient are gone before the layers' backward pass.
    alive = token_budget * min(1.0, 1.5 * supervised_share)
    logits = (min(token_budget, HEAD_CHUNK) if own_head else alive) * shape.vocabulary * 10
    if fused:  # in passing: the MLP's gradients; later attention's, as the MLP is let go of
        most = max(2 * shape.hidden + shape.intermediate, 6 * shape.query - 3 * shape.intermediate)
        rest = max(logits, token_budget * (again + 2 * most))
    else:
        rest = logits + token_budget * again
    return int(weights + adapters + (MARGIN * token_budget * kept + rest) * (2 if graphs else 1))


def _own_layer(shape: ModelShape, layers: str) -> int:
    """Bytes that one token keeps in one decoder layer of transformers and PEFT, with dropout.

    Fitted to peaks on a GPU (tests/benchmarks/README.md, Training): norms, adapters and activations
    keep copies of their inputs in float32 and bf16, which torch.compile computes again in part.
    """
    attention = shape.query + shape.key_value
    if layers == "compiled":
        kept = 20 * shape.hidden + 6 * attention + 7 * shape.intermediate
        return kept + 2 * shape.hidden * shape.more_norms + 8 * shape.state
    kept = 18 * shape.hidden + 4 * attention + 13 * shape.intermediate
    kept += 4 * attention * shape.head_norms
    return kept + 8 * shape.hidden * shape.more_norms + 8 * shape.state


def _fused_layer(shape: ModelShape, read: float = 1.0) -> float:
    """Bytes that one token keeps in one fused decoder layer: see FusedLayer.run's list.

    read: share of the positions that come to its o_proj and MLP.
    """
    qkv = shape.query + 2 * shape.key_value
    turned = shape.query + shape.key_value if shape.head_norms else 0
    attention = 2 * shape.hidden + ROOM + qkv + turned + shape.query
    rest = shape.query + 2 * shape.hidden + 3 * shape.intermediate + 3 * ROOM
    return 2 * (attention + read * rest + 8)


def operations(shape: ModelShape, lora_rank: int, recompute: bool) -> float:
    """Floating-point operations that one token of training needs in the weights.

    A base weight: 2 forward, 2 for its input's gradient, 2 to compute it again; an adapter's: 6.
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
    layers: str,
    dora: bool = False,
) -> float:
    """Time of a training, a rough estimate.

    Args:
        tokens: all tokens to be trained on. rate: the device's operations a second in a large
            product (yoyak.run.gpus).
    """
    share = SPEED[layers if cuda else "cpu"] / (DORA_SLOWER if dora else 1)
    return tokens * operations(shape, lora_rank, gradient_checkpointing) / (rate * share)
