"""Causal attention over packed sequences: no padding, and no look across a boundary.

Registered with transformers under `PACKED`. A mask is never built for that name; where the
sequences begin comes from `cu_seq_lens_q`, which the caller must pass: without it the function
raises instead of letting neighbours leak into each other.
"""

import inspect

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

PACKED = "yoyak_packed"


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
    **unused,
) -> tuple[torch.Tensor, None]:
    """Attention of every token to the earlier ones of its own sequence.

    Args:
        query: (1, heads, tokens, head_dim); key and value: (1, kv_heads, tokens, head_dim).
        cu_seq_lens_q: (sequences + 1,) int32, cumulative lengths, on the query's device.
        max_length_q: length of the longest sequence, a Python int so that no kernel has to wait.
        boundaries: the cumulative lengths as Python ints; read on the CPU only.

    Returns:
        (1, tokens, heads, head_dim), and None in the place of the attention weights.

    Raises:
        ValueError: the boundaries are missing, or there is more than one row.
    """
    if cu_seq_lens_q is None or query.shape[0] != 1:
        raise ValueError("packed attention needs cu_seq_lens_q and one row of concatenated tokens")
    if query.is_cuda and flash_fits(query):
        output = _varlen(query, key, value, scaling, cu_seq_lens_q, max_length_q)
    else:
        output = per_sequence(query, key, value, scaling, boundaries or cu_seq_lens_q.tolist())
    return output, None


def flash_fits(query: torch.Tensor) -> bool:
    """FlashAttention wants 16-bit numbers and an Ampere card or newer."""
    is_16_bit = query.dtype in (torch.float16, torch.bfloat16)
    return is_16_bit and torch.cuda.get_device_capability(query.device) >= (8, 0)


def _varlen(query, key, value, scaling, cu_seq_lens, max_length):
    """FlashAttention through torch; (1, heads, tokens, dim) in, (1, tokens, heads, dim) out."""
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    grouped = {}
    if key.shape[1] != query.shape[1]:
        if "enable_gqa" in inspect.signature(varlen_attn).parameters:
            grouped = {"enable_gqa": True}
        else:  # torch 2.11 has no grouped heads there
            repeats = query.shape[1] // key.shape[1]
            key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    output = varlen_attn(
        query, key, value, cu_seq_lens, cu_seq_lens, max_length, max_length,
        scale=scaling, window_size=(-1, 0), **grouped,
    )  # fmt: skip
    return output.unsqueeze(0)


def flash_forward(query, key, value, scaling, cu_seq_lens, max_length):
    """Varlen FlashAttention without autograd; query (tokens, heads, dim), key and value grouped.

    Returns: (output (tokens, heads, dim), what `flash_backward` wants back).
    """
    output, lse, rng, unused, _ = torch.ops.aten._flash_attention_forward(
        query, key, value, cu_seq_lens, cu_seq_lens, max_length, max_length,
        0.0, True, False, scale=scaling,
    )  # fmt: skip
    return output, (lse, rng, unused)


def flash_backward(grad, query, key, value, output, kept, scaling, cu_seq_lens, max_length):
    """Gradients of query, key and value for the gradient of `flash_forward`'s output."""
    lse, rng, unused = kept
    return torch.ops.aten._flash_attention_backward(
        grad, query, key, value, output, lse, cu_seq_lens, cu_seq_lens, max_length, max_length,
        0.0, True, rng, unused, scale=scaling,
    )  # fmt: skip


def per_sequence(query, key, value, scaling, boundaries):
    """The block diagonal, one block at a time: cheaper on a CPU than a dense mask over the pack."""
    lengths = [end - start for start, end in zip(boundaries, boundaries[1:], strict=False)]
    blocks = [
        scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=True)
        for q, k, v in zip(
            *(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True
        )
    ]
    return torch.cat(blocks, dim=2).transpose(1, 2)


AttentionInterface.register(PACKED, packed_attention)
