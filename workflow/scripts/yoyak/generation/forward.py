"""One forward pass of a model with layers like Llama's over the slots, with few passes over memory.

Half of a step's time goes into small operations around the matrix products. Here projections that
read the same input are one product, and normalisation, rotary positions and the gated activation
are one kernel each: those that training uses, or their plain torch form on the CPU.
"""

from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F

from yoyak.generation.cache import SlotBatch, attend
from yoyak.kernels import plain_layers
from yoyak.kernels.decoder_layers import FUSED_LAYERS
from yoyak.kernels.layer_attention import window_of

# Their forward is embedding, layers, norm and head with nothing between: see FusedForward.
FUSED_MODELS = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")


def make_forward(model):
    """A function (tokens, batch, keep) → logits for this causal LM.

    Fused where the architecture is covered, else the model's own forward with slot attention.
    """
    silu = getattr(model.config, "hidden_act", None) in ("silu", "swish")
    covered = type(model).__name__ in FUSED_MODELS and silu
    if covered and all(_covered(layer) for layer in model.model.layers):
        return FusedForward(model)
    return PlainForward(model)


def _covered(layer) -> bool:
    if type(layer).__name__ not in FUSED_LAYERS:
        return False
    head_dim = layer.self_attn.head_dim
    return head_dim & (head_dim - 1) == 0  # the rotary kernel halves it into powers of two


class PlainForward:
    """The model's own forward, head and scale; its attention must be SLOT_ATTENTION meanwhile."""

    def __init__(self, model):
        self.model = model

    def __call__(self, tokens: torch.Tensor, batch: SlotBatch, keep=None) -> torch.Tensor:
        """Logits (rows, vocabulary) at the flat places `keep`, or at every token."""
        output = self.model(
            input_ids=tokens[None],
            position_ids=batch.positions[None],
            use_cache=False,
            logits_to_keep=0 if keep is None else keep,
            slots=batch,
        )
        logits = output.logits[0]
        if len(logits) != (len(tokens) if keep is None else len(keep)):
            raise ValueError("the model's forward does not know logits_to_keep")
        return logits


class FusedForward:
    """Same interface as PlainForward."""

    def __init__(self, model):
        self.model, self.decoder = model, model.model
        self.layers = [_Layer(layer) for layer in self.decoder.layers]
        self.ops: ModuleType = plain_layers
        if model.get_input_embeddings().weight.is_cuda:
            from yoyak.kernels import triton_layers

            self.ops = triton_layers

    def __call__(self, tokens: torch.Tensor, batch: SlotBatch, keep=None) -> torch.Tensor:
        """Logits (rows, vocabulary) at the flat places `keep`, or at every token."""
        hidden = self.decoder.embed_tokens(tokens)  # (T, hidden)
        tables = self.decoder.rotary_emb(hidden[None], position_ids=batch.positions[None])
        cos, sin = (table[0] for table in tables)  # (T, head_dim)
        delta: Any = None  # a tensor from the first layer on
        for layer in self.layers:
            hidden, delta = layer(self.ops, hidden, delta, cos, sin, batch)
        if keep is not None:
            hidden, delta = hidden[keep], delta[keep]
        normed = torch.empty_like(hidden)
        _norm(self.ops, self.decoder.norm, hidden, normed, delta)
        return self.model.lm_head(normed)


class _Layer:
    """A decoder layer; the residual's last summand stays apart until the next norm adds it."""

    def __init__(self, layer):
        attention, mlp = layer.self_attn, layer.mlp
        self.index, self.head_dim = attention.layer_idx, attention.head_dim
        self.scaling = attention.scaling
        self.window = window_of(attention)
        self.norms = (layer.input_layernorm, layer.post_attention_layernorm)
        self.head_norms = (getattr(attention, "q_norm", None), getattr(attention, "k_norm", None))
        self.qkv = _Joined([attention.q_proj, attention.k_proj, attention.v_proj])
        self.gate_up = _Joined([mlp.gate_proj, mlp.up_proj])
        self.o_proj, self.down_proj = attention.o_proj, mlp.down_proj

    def __call__(self, ops, hidden, delta, cos, sin, batch: SlotBatch):
        """(hidden + delta + attention's output, MLP's output), each (T, hidden)."""
        normed = torch.empty_like(hidden)
        hidden = _norm(ops, self.norms[0], hidden, normed, delta)
        query, key, value = self.qkv(normed)
        for part, norm in zip((query, key), self.head_norms, strict=True):
            extra = () if norm is None else (norm.weight, norm.variance_epsilon)
            ops.rotate(part, part, cos, sin, self.head_dim, *extra)
        query, key, value = (part.unflatten(1, (-1, self.head_dim)) for part in (query, key, value))
        mixed = attend(batch, self.index, query, key, value, self.scaling, self.window)
        delta = self.o_proj(mixed.flatten(1))
        normed = torch.empty_like(hidden)
        hidden = _norm(ops, self.norms[1], hidden, normed, delta)
        both = self.gate_up.product(normed)
        gated = both.new_empty(len(both), both.shape[1] // 2)
        ops.swiglu(both, gated)
        return hidden, self.down_proj(gated)


class _Joined:
    """Projections of one input as one product.

    Plain weights are laid end to end once and the modules keep views of them, so that no memory
    is used twice. 4-bit weights and adapters beside them go through their own modules.
    """

    def __init__(self, projections: list):
        self.projections, self.weight = projections, None
        biased = {part.bias is not None for part in projections}
        if any(type(part) is not torch.nn.Linear for part in projections) or len(biased) > 1:
            return
        sizes = [part.out_features for part in projections]
        self.weight = torch.cat([part.weight.detach() for part in projections])
        for part, rows in zip(projections, self.weight.split(sizes), strict=True):
            part.weight.data = rows
        self.bias = (
            torch.cat([part.bias.detach() for part in projections]) if biased.pop() else None
        )
        self.sizes = sizes

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """(T, all outputs side by side)."""
        if self.weight is not None:
            return F.linear(x, self.weight, self.bias)
        return torch.cat([part(x) for part in self.projections], dim=1)

    def __call__(self, x: torch.Tensor) -> list[torch.Tensor]:
        """One (T, out_features) for each projection."""
        if self.weight is not None:
            return list(self.product(x).split(self.sizes, dim=1))
        return [part(x) for part in self.projections]


def _norm(ops, norm, hidden, normed, delta) -> torch.Tensor:
    """normed = norm(hidden + delta); returns hidden + delta."""
    return ops.rms_norm(hidden, norm.weight, norm.variance_epsilon, normed, delta=delta)[0]
