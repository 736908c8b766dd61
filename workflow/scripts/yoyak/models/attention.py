"""Causal attention over packed sequences, without padding or attention across boundaries.

Registered with transformers under `PACKED`. A mask is never built for that name; where the
sequences begin comes from `cu_seq_lens_q`, which the caller must pass: without it the function
raises instead of letting neighbours leak into each other.
"""

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

PACKED = "yoyak_packed"
ANY = ("any",)
# Keywords that models hand to every attention function, with the values that ask for nothing more
# than causal attention. `dropout` is the attention's own, which none of the fast paths has.
NEUTRAL_KEYWORDS = {
    "dropout": (0.0,),
    "is_causal": (None, True),
    "output_attentions": (None, False),
    "output_hidden_states": (None, False),
    "output_router_logits": (None, False),
    "return_dict": ANY,
    "use_cache": (None, False),
    "position_ids": ANY,
    "cache_position": ANY,
    "cu_seq_lens_k": ANY,
    "max_length_k": ANY,
}


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    scaling: float | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    boundaries: tuple[int, ...] | None = None,
    sliding_window: int | None = None,
    **others,
) -> tuple[torch.Tensor, None]:
    """Attention of every token to the earlier ones of its own sequence.

    Args:
        query: (1, heads, tokens, head_dim); key and value: (1, kv_heads, tokens, head_dim).
        cu_seq_lens_q: (sequences + 1,) int32, cumulative lengths, on the query's device.
        max_length_q: length of the longest sequence, a Python int so that no kernel has to wait.
        boundaries: the cumulative lengths as Python ints; read on the CPU only.
        sliding_window: how many positions a token sees, its own included; None: all before it.

    Returns:
        (1, tokens, heads, head_dim), and None in the place of the attention weights.

    Raises:
        ValueError: the boundaries are missing, there is more than one row, or the model asks for
            something that is not implemented here (softcap, sinks, attention dropout …).
    """
    refuse_others(others)
    if cu_seq_lens_q is None or query.shape[0] != 1:
        raise ValueError("packed attention needs cu_seq_lens_q and one row of concatenated tokens")
    if query.is_cuda and flash_fits(query):
        q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
        output, _ = flash_forward(q, k, v, scaling, cu_seq_lens_q, max_length_q, sliding_window)
        output = output[None]
    elif torch.compiler.is_compiling():
        output = opaque_attention(query, key, value, cu_seq_lens_q, scaling, sliding_window)
    else:
        ends = boundaries or cu_seq_lens_q.tolist()
        output = per_sequence(query, key, value, scaling, ends, sliding_window)
    return output, None


def refuse_others(keywords: dict) -> None:
    """Raise ValueError for a keyword of the attention interface that would change the result.

    Transformers hands an attention function whatever the model needs, by name. What is not
    implemented must not be swallowed: the model would train and generate on wrong numbers.
    """
    for name, value in keywords.items():
        neutral = NEUTRAL_KEYWORDS.get(name, (None,))
        if neutral != ANY and not any(value is one or value == one for one in neutral):
            shown = "" if isinstance(value, torch.Tensor) else f"={str(value)[:40]}"
            raise ValueError(f"attention with {name}{shown} is not implemented here")


def flash_fits(query: torch.Tensor) -> bool:
    """FlashAttention needs 16-bit numbers, heads of at most 256 and an Ampere GPU or newer."""
    is_16_bit = query.dtype in (torch.float16, torch.bfloat16)
    fits = is_16_bit and query.shape[-1] <= 256 and query.shape[-1] % 8 == 0
    return fits and torch.cuda.get_device_capability(query.device) >= (8, 0)


def flash_forward(query, key, value, scaling, cu_seq_lens, max_length, window=None):
    """Varlen FlashAttention; query (tokens, heads, dim), key and value grouped.

    window: positions that a token sees, its own included; None: all before it.

    Returns: (output (tokens, heads, dim), what `flash_backward` needs).
    """
    output, lse, rng, unused, _ = torch.ops.aten._flash_attention_forward(
        query, key, value, cu_seq_lens, cu_seq_lens, max_length, max_length,
        0.0, True, False, scale=scaling, **_left(window),
    )  # fmt: skip
    return output, (lse, rng, unused)


def _left(window: int | None) -> dict:
    return {"window_size_left": window - 1, "window_size_right": 0} if window else {}


def flash_backward(
    grad, query, key, value, output, kept, scaling, cu_seq_lens, max_length, window=None
):
    """Gradients of query, key and value for the gradient of `flash_forward`'s output."""
    lse, rng, unused = kept
    return torch.ops.aten._flash_attention_backward(
        grad, query, key, value, output, lse, cu_seq_lens, cu_seq_lens, max_length, max_length,
        0.0, True, rng, unused, scale=scaling, **_left(window),
    )  # fmt: skip


def per_sequence(query, key, value, scaling, boundaries, window=None):
    """The block diagonal, one block at a time: cheaper on a CPU than a dense mask over the pack."""
    lengths = [end - start for start, end in zip(boundaries, boundaries[1:], strict=False)]
    parts = zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True)
    blocks = [_causal(q, k, v, scaling, window) for q, k, v in parts]
    return torch.cat(blocks, dim=2).transpose(1, 2).contiguous()  # some models take a view of it


def _causal(query, key, value, scaling, window):
    """Causal attention within one sequence, through a sliding window where it is longer."""
    settings = {"scale": scaling, "enable_gqa": True}
    if window is None or query.shape[2] <= window:
        return scaled_dot_product_attention(query, key, value, is_causal=True, **settings)
    seen = _seen(query.shape[2], window, query.device)
    return scaled_dot_product_attention(query, key, value, attn_mask=seen, **settings)


def _seen(tokens: int, window: int | None, device) -> torch.Tensor:
    """(tokens, tokens) bool: what each token of a sequence attends to."""
    place = torch.arange(tokens, device=device)
    distance = place[:, None] - place[None, :]
    return (distance >= 0) & (distance < (window or tokens))


@torch.library.custom_op("yoyak::attention", mutates_args=())
def opaque_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_lens: torch.Tensor,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    """`per_sequence` as one operator for torch.compile, which would compile every length anew."""
    return per_sequence(query, key, value, scaling, cu_seq_lens.tolist(), window)


@opaque_attention.register_fake
def _(query, key, value, cu_seq_lens, scaling, window):
    rows, heads, tokens, _ = query.shape
    return query.new_empty((rows, tokens, heads, value.shape[-1]))


@torch.library.custom_op("yoyak::attention_backward", mutates_args=())
def _opaque_backward(
    grad: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_lens: torch.Tensor,
    scaling: float | None,
    window: int | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    ends = cu_seq_lens.tolist()
    lengths = [end - start for start, end in zip(ends, ends[1:], strict=False)]
    parts = (grad.transpose(1, 2), query, key, value)
    blocks = zip(*(part.split(lengths, dim=2) for part in parts), strict=True)
    found = [_causal_gradients(g, q, k, v, scaling, window) for g, q, k, v in blocks]
    dq, dk, dv = (torch.cat(parts, dim=2) for parts in zip(*found, strict=True))
    return dq, dk, dv


def _causal_gradients(grad, query, key, value, scaling, window):
    """Gradients of `_causal`, written out: autograd does not reach into an operator."""
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    groups = query.shape[1] // key.shape[1]
    keys, values = (part.repeat_interleave(groups, dim=1) for part in (key, value))
    scores = query @ keys.mT * scaling
    seen = _seen(query.shape[2], window, query.device)
    weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
    of_weights = grad @ values.mT
    of_scores = weights * (of_weights - (of_weights * weights).sum(-1, keepdim=True)) * scaling
    of_keys, of_values = of_scores.mT @ query, weights.mT @ grad
    of_keys, of_values = (part.unflatten(1, (-1, groups)).sum(2) for part in (of_keys, of_values))
    return of_scores @ keys, of_keys, of_values


@_opaque_backward.register_fake
def _(grad, query, key, value, cu_seq_lens, scaling, window):
    return tuple(part.new_empty(part.shape) for part in (query, key, value))


def _keep(ctx, inputs, output):
    *tensors, ctx.scaling, ctx.window = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx, grad):
    grads = _opaque_backward(grad, *ctx.saved_tensors, ctx.scaling, ctx.window)
    return *grads, None, None, None


opaque_attention.register_autograd(_differentiate, setup_context=_keep)
AttentionInterface.register(PACKED, packed_attention)
