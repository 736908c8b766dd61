"""Fused decoder layers for LoRA training: one autograd step a layer, few passes over memory.

See products.py for what is fused. A layer keeps just the tensors that its own backward pass
reads, or, recomputing, its input alone. PEFT's modules keep their parameters, so that saving,
loading and merging stay PEFT's.
"""

from typing import Any

import torch

from yoyak.errors import UserError
from yoyak.kernels import plain_layers
from yoyak.kernels.adapters import beyond_plain_lora
from yoyak.kernels.compiled_layers import CompiledLayer
from yoyak.kernels.layer_attention import Rows, attend, attend_backward, window_of
from yoyak.kernels.products import FusedProduct
from yoyak.models.attention import refuse_others

FUSED_LAYERS = (
    "LlamaDecoderLayer",
    "MistralDecoderLayer",
    "Qwen2DecoderLayer",
    "Qwen3DecoderLayer",
)


def fuse_decoder_layers(model, recompute: bool) -> int:
    """Run the decoder layers of a PEFT model fused; returns their number.

    Args:
        recompute: keep only every layer's input for the backward pass and compute the rest again.

    Raises:
        UserError: the architecture or its adapters are not covered, or Triton is missing.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    layers = base.model.layers
    fault = next((fault for fault in map(_fault, layers) if fault), None)
    if fault:
        raise UserError(f"fused layers do not cover it: {fault}")
    if next(base.parameters()).is_cuda:
        try:
            import triton  # noqa: F401
        except ImportError:
            raise UserError("fused layers need the Python package triton on a GPU") from None
    for layer in layers:
        layer.forward = FusedLayer(layer, recompute)
    layers[-1].forward.ends = True
    return len(layers)


def ends_fused(model) -> bool:
    """Whether the last layer takes `wanted`: the positions of which alone it gives its output."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    layers = getattr(base.base_model, "layers", None)
    if not isinstance(layers, torch.nn.ModuleList):
        return False
    return isinstance(vars(layers[-1]).get("forward"), FusedLayer)


def separate_decoder_layers(model) -> None:
    """Let fused or compiled layers run their own forward again, on the same weights."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    for module in base.modules():
        if isinstance(vars(module).get("forward"), FusedLayer | CompiledLayer):
            del module.forward


def _fault(layer) -> str | None:
    """Why a layer cannot run fused, or None."""
    name = type(layer).__name__
    if name not in FUSED_LAYERS:
        return f"{name} is not among {', '.join(FUSED_LAYERS)}"
    if getattr(layer.self_attn, "attention_dropout", 0.0):
        return "attention dropout is not covered"
    return beyond_plain_lora(layer, _projections(layer)) or _unequal(layer)


def _unequal(layer) -> str | None:
    """Why the adapters of one product differ (they must share rank, alpha and dropout), or None."""
    attention, mlp = layer.self_attn, layer.mlp
    for group in ((attention.q_proj, attention.k_proj, attention.v_proj), mlp.children()):
        adapted = [part for part in group if hasattr(part, "lora_A")]
        names = [part.active_adapters[0] for part in adapted]
        kinds = {
            (part.r[name], part.scaling[name], getattr(part.lora_dropout[name], "p", 0.0))
            for part, name in zip(adapted, names, strict=True)
        }
        if len(kinds) > 1:
            return "adapters of one layer differ in rank, alpha or dropout"
    return None


def _projections(layer) -> list:
    attention, mlp = layer.self_attn, layer.mlp
    return [
        attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj,
        mlp.gate_proj, mlp.up_proj, mlp.down_proj,
    ]  # fmt: skip


class FusedLayer:
    """Stands in for a decoder layer's forward."""

    def __init__(self, layer, recompute: bool):
        attention, mlp = layer.self_attn, layer.mlp
        self.layer, self.recompute, self.ends = layer, recompute, False
        self.head_dim = attention.head_dim
        self.scaling = attention.scaling
        self.window = window_of(attention)
        self.norms = (layer.input_layernorm, layer.post_attention_layernorm)
        norms = (getattr(attention, "q_norm", None), getattr(attention, "k_norm", None))
        self.head_norms: tuple[Any, Any] = norms
        self.qkv = FusedProduct([attention.q_proj, attention.k_proj, attention.v_proj])
        self.o = FusedProduct([attention.o_proj], apart=True)
        self.gate_up = FusedProduct([mlp.gate_proj, mlp.up_proj])
        self.down = FusedProduct([mlp.down_proj])
        self.products = (self.qkv, self.o, self.gate_up, self.down)
        self.q_columns, self.kv_columns = self.qkv.rows[0], self.qkv.rows[1]

    def __call__(
        self,
        hidden_states,
        position_embeddings=None,
        cu_seq_lens_q=None,
        max_length_q=None,
        boundaries=None,
        wanted=None,
        **others,
    ):
        """hidden_states: (1, tokens, hidden), a pack; returns the same shape.

        wanted: (n,) positions; the last layer returns (1, n, hidden), what is read of its output.
        """
        refuse_others(others)
        if cu_seq_lens_q is None or hidden_states.shape[0] != 1:
            raise ValueError("fused layers need cu_seq_lens_q and one row of concatenated tokens")
        cos, sin = position_embeddings
        if boundaries is None and not hidden_states.is_cuda:
            boundaries = tuple(cu_seq_lens_q.tolist())
        rows = Rows(cos[0], sin[0], cu_seq_lens_q, max_length_q, boundaries)
        rows.wanted = wanted if self.ends else None
        training = self.layer.training
        seeds = draw_seeds(hidden_states.device, training)
        parameters = [factor for product in self.products for factor in product.parameters()]
        x = hidden_states[0].to(self.qkv.dtype)
        return _Step.apply(x, self, rows, seeds, training, *parameters).unsqueeze(0)

    def run(self, ops, hidden, rows, seeds, training, last=True):
        """The layer's output, (tokens, hidden), and what the backward pass reads.

        With last=False, the output is not computed: the second time, only the rest is wanted.
        """
        tokens, device = hidden.shape[0], hidden.device
        x1 = self.qkv.buffer(tokens, device)
        _, rstd1 = ops.rms_norm(hidden, self.norms[0].weight, self.norms[0].variance_epsilon, x1)
        qkv = self.qkv.forward(ops, x1, seeds[0], training)
        q, k, v = self._rotated(ops, qkv, rows)
        attended, kept = attend(ops, q, k, v, self.scaling, rows, self.window)
        hidden, inner = rows.take(hidden), rows.take(attended.flatten(1))
        tokens = len(hidden)
        x2 = self.o.buffer(tokens, device)
        out = self.o.forward(ops, x2, seeds[1], training, source=inner)
        x3 = self.gate_up.buffer(tokens, device)
        norm = self.norms[1]
        middle, rstd2 = ops.rms_norm(hidden, norm.weight, norm.variance_epsilon, x3, delta=out)
        del out
        both = self.gate_up.forward(ops, x3, seeds[2], training)
        x4 = self.down.buffer(tokens, device)
        ops.swiglu(both, x4)
        kept = [x1, rstd1, qkv, q, k, v, attended, kept, x2, middle, rstd2, x3, both, x4]
        if not last:
            self.down.fill(ops, x4, seeds[3], training)  # u, which its gradients read
            return None, kept
        output = self.down.forward(ops, x4, seeds[3], training)
        output += middle
        return output, kept

    def _rotated(self, ops, qkv, rows):
        """Query, key, value as (tokens, heads, head_dim); in place where heads have no norm."""
        dim, q_end = self.head_dim, self.q_columns
        k_end = q_end + self.kv_columns
        q, k, v = qkv[:, :q_end], qkv[:, q_end:k_end], qkv[:, k_end:]
        if self.head_norms[0] is None:
            ops.rotate(qkv[:, :k_end], qkv[:, :k_end], rows.cos, rows.sin, dim)
        else:
            turned = torch.empty((qkv.shape[0], k_end), dtype=qkv.dtype, device=qkv.device)
            for part, start, norm in ((q, 0, self.head_norms[0]), (k, q_end, self.head_norms[1])):
                out = turned[:, start : start + part.shape[1]]
                eps = norm.variance_epsilon
                ops.rotate(part, out, rows.cos, rows.sin, dim, norm.weight, eps)
            q, k = turned[:, :q_end], turned[:, q_end:]
        return tuple(part.unflatten(1, (-1, dim)) for part in (q, k, v))

    def gradients(self, ops, grad, hidden, rows, seeds, training, kept, need_x):
        """(gradient of hidden or None, gradients of all adapters); `kept` is used up."""
        x1, rstd1, qkv, q, k, v, attended, flash, x2, middle, rstd2, x3, both, x4 = kept
        kept.clear()  # the caller holds the list: let go of each tensor as soon as it is read
        grad4, adapters4 = self.down.backward(ops, grad, x4, seeds[3], training)
        del x4
        ops.swiglu_backward_(grad4, both)  # `both` now holds its own gradient
        del grad4
        grad3, adapters3 = self.gate_up.backward(ops, both, x3, seeds[2], training)
        del both, x3
        grad_middle = ops.rms_norm_backward(grad3, middle, self.norms[1].weight, rstd2, grad)
        del grad3, middle
        grad2, adapters2 = self.o.backward(ops, grad_middle, x2, seeds[1], training)
        del x2
        outer = rows.put_back(grad2[:, : self.o.width]).unflatten(1, (-1, self.head_dim))
        place = (self.scaling, rows, self.window)
        inner = attend_backward(outer, q, k, v, attended, flash, *place)
        grad_qkv = self._unrotated(ops, inner, qkv, rows)
        del grad2, outer, inner, q, k, v, attended, flash, qkv
        grad1, adapters1 = self.qkv.backward(ops, grad_qkv, x1, seeds[0], training, need_x)
        out = None
        if need_x:
            norm = self.norms[0]
            grad_middle = rows.put_back(grad_middle)
            out = ops.rms_norm_backward(grad1, hidden, norm.weight, rstd1, grad_middle)
        return out, [*adapters1, *adapters2, *adapters3, *adapters4]

    def _unrotated(self, ops, grads, qkv, rows):
        dq, dk, dv = (part.flatten(1) for part in grads)
        out = torch.empty(qkv.shape, dtype=qkv.dtype, device=qkv.device)
        q_end, k_end = self.q_columns, self.q_columns + self.kv_columns
        places = (slice(0, q_end), slice(q_end, k_end))
        for part, place, norm in zip((dq, dk), places, self.head_norms, strict=True):
            extra = () if norm is None else (norm.weight, norm.variance_epsilon)
            ops.rotate_backward(
                part, qkv[:, place], out[:, place], rows.cos, rows.sin, self.head_dim, *extra
            )
        out[:, k_end:].copy_(dv)
        return out


class _Step(torch.autograd.Function):
    """A decoder layer with a backward pass of its own."""

    @staticmethod
    def forward(ctx, hidden, layer: FusedLayer, rows: Rows, seeds, training, *parameters):
        ops = _ops(hidden)
        output, kept = layer.run(ops, hidden, rows, seeds, training)
        ctx.layer, ctx.rows, ctx.seeds, ctx.training = layer, rows, seeds, training
        ctx.kept = None if layer.recompute else kept
        ctx.save_for_backward(hidden)
        return output

    @staticmethod
    def backward(ctx, grad):
        (hidden,) = ctx.saved_tensors
        layer, ops, kept = ctx.layer, _ops(hidden), ctx.kept
        ctx.kept = []  # used up: the backward pass writes into it
        if kept == []:
            raise RuntimeError("a fused layer's backward pass can run only once")
        with torch.no_grad():
            if kept is None:
                _, kept = layer.run(ops, hidden, ctx.rows, ctx.seeds, ctx.training, last=False)
            need = ctx.needs_input_grad[0]
            grad = grad.contiguous()
            out, adapters = layer.gradients(
                ops, grad, hidden, ctx.rows, ctx.seeds, ctx.training, kept, need
            )
        return out, None, None, None, None, *adapters


def draw_seeds(device, training: bool) -> torch.Tensor:
    """(4,) int32: a seed of dropout for each product of a layer, drawn where it is read.

    A number of the processor's would be the same one in every replay of a CUDA graph.
    """
    if not training:
        return torch.zeros(4, dtype=torch.int32, device=device)
    return torch.randint(0, 2**31 - 1, (4,), dtype=torch.int32, device=device)


def _ops(tensor):
    if not tensor.is_cuda:
        return plain_layers
    from yoyak.kernels import triton_layers

    return triton_layers
