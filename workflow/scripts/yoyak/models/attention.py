"""Causal attention over packed sequences, without padding or attention across boundaries.

Registered with transformers under `PACKED`. A mask is never built for that name; where the
sequences begin comes from `cu_seq_lens_q`, which the caller must pass: without it the function
raises instead of letting neighbours leak into each other.
"""

import inspect
from typing import Any

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
        output = _varlen(query, key, value, scaling, cu_seq_lens_q, max_length_q, sliding_window)
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


def _varlen(query, key, value, scaling, cu_seq_lens, max_length, window):
    """FlashAttention through torch; (1, heads, tokens, dim) in, (1, tokens, heads, dim) out."""
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    grouped: dict[str, Any] = {}
    if key.shape[1] != query.shape[1]:
        if "enable_gqa" in inspect.signature(varlen_attn).parameters:
            grouped = {"enable_gqa": True}
        else:  # torch 2.11 has no grouped heads there
            repeats = query.shape[1] // key.shape[1]
            key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    output: Any = varlen_attn(
        query, key, value, cu_seq_lens, cu_seq_lens, max_length, max_length,
        scale=scaling, window_size=(window - 1 if window else -1, 0), **grouped,
    )  # fmt: skip
    return output.unsqueeze(0)


def flash_forward(query, key, value, scaling, cu_seq_lens, max_length, window=None):
    """Varlen FlashAttention without autograd; query (tokens, heads, dim), key and value grouped.

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


def flash_backward(grad, query, key, value, output, kept, scaling, cu_seq_lens, max_length):
    """Gradients of query, key and value for the gradient of `flash_forward`'s output."""
    lse, rng, unused = kept
    return torch.ops.aten._flash_attention_backward(
        grad, query, key, value, output, lse, cu_seq_lens, cu_seq_lens, max_length, max_length,
        0.0, True, rng, unused, scale=scaling,
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
    place = torch.arange(query.shape[2], device=query.device)
    distance = place[:, None] - place[None, :]
    seen = (distance >= 0) & (distance < window)
    return scaled_dot_product_attention(query, key, value, attn_mask=seen, **settings)


AttentionInterface.register(PACKED, packed_attention)
