"""The key/value cache of generation: one slot a row, and the attention that reads it.

The Hugging Face model runs its own layers over a flat row of tokens without any cache argument.
Its attention is the function registered here under `SLOT_ATTENTION`: it writes the new keys and
values into the slots and reads back only what is filled. So there is no padding in a prefill, no
copy of the cache, and nothing that depends on how a transformers version names its cache.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import AttentionInterface

SLOT_ATTENTION = "yoyak_slots"  # no mask function has this name, so transformers builds no mask


class SlotCache:
    """Keys and values of `slots` rows, and each row's last token and length, on one device.

    Attributes:
        keys, values: (layers, slots, kv_heads, capacity, head_dim).
        tokens: (slots,) int64, the token that the next step reads.
        lengths: (slots,) int64, positions filled so far = position of that token.
    """

    def __init__(self, config, slots: int, capacity: int, dtype: torch.dtype, device: torch.device):
        shape = (config.num_hidden_layers, slots, *kv_shape(config, capacity))
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.tokens = torch.zeros(slots, dtype=torch.int64, device=device)
        self.lengths = torch.zeros(slots, dtype=torch.int64, device=device)
        self.capacity = capacity

    def move(self, source: int, target: int, length: int) -> None:
        """Put the row of one slot into another; `length` positions of it are filled."""
        for cache in (self.keys, self.values):
            cache[:, target, :, :length] = cache[:, source, :, :length]
        self.tokens[target] = self.tokens[source]
        self.lengths[target] = self.lengths[source]


def kv_shape(config, capacity: int) -> tuple[int, int, int]:
    """(kv_heads, capacity, head_dim) of one layer's keys, or values, in one slot."""
    head_dim = getattr(config, "head_dim", None)
    head_dim = head_dim or config.hidden_size // config.num_attention_heads
    return config.num_key_value_heads, capacity, head_dim


@dataclass(frozen=True)
class SlotBatch:
    """Which tokens one forward pass holds, all rows in one flat row of T tokens.

    Attributes:
        slots: (T,) int64, the slot of each token.
        positions: (T,) int64, its place in its own row.
        sequences: length of each prompt, in order, in a prefill; None in a decoding step, where
            token i is the newest of slot i.
        longest: in a decoding step on the CPU, positions that the longest row fills, its new token
            included; in a prefill the longest prompt.
        boundaries: (prompts + 1,) int32 cumulative lengths of a prefill, on the device.
    """

    cache: SlotCache
    slots: torch.Tensor
    positions: torch.Tensor
    sequences: list[int] | None = None
    longest: int = 0
    boundaries: torch.Tensor | None = None


def slot_attention(module, query, key, value, attention_mask, *, slots, scaling, **_):
    """Attention over the slots, in the form that transformers calls.

    Args:
        query: (1, heads, T, head_dim), rotated; key, value: (1, kv_heads, T, head_dim).
        slots: the `SlotBatch`, handed through the model's keyword arguments.

    Returns:
        ((1, T, heads, head_dim), None).
    """
    cache, layer = slots.cache, module.layer_idx
    key, value = key[0].transpose(0, 1), value[0].transpose(0, 1)  # (T, kv_heads, head_dim)
    keys, values = cache.keys[layer], cache.values[layer]
    keys[slots.slots, :, slots.positions] = key
    values[slots.slots, :, slots.positions] = value
    query = query[0].transpose(0, 1)  # (T, heads, head_dim)
    if slots.sequences is not None:
        mixed = _prefill_attention(query, key, value, slots, scaling)
    elif query.is_cuda:
        from yoyak.evaluation.decode_kernel import decode_attention

        mixed = decode_attention(query, keys, values, slots.positions, scaling)
    else:
        mixed = _decode_attention(query, keys, values, slots, scaling)
    return mixed[None], None


AttentionInterface.register(SLOT_ATTENTION, slot_attention)


def _prefill_attention(query, key, value, slots: SlotBatch, scaling: float) -> torch.Tensor:
    """Causal attention inside each prompt of the flat row; all prompts begin at position 0."""
    if _varlen_kernel_fits(query):
        from torch.nn.attention.varlen import varlen_attn

        groups = query.shape[1] // key.shape[1]
        if groups > 1:  # torch 2.11 knows no grouped heads here
            key, value = (t.repeat_interleave(groups, dim=1) for t in (key, value))
        ends = slots.boundaries
        mixed = varlen_attn(
            query.contiguous(),
            key.contiguous(),
            value.contiguous(),
            ends,
            ends,
            slots.longest,
            slots.longest,
            scale=scaling,
            window_size=(-1, 0),
        )
        return mixed
    pieces = [t.split(slots.sequences) for t in (query, key, value)]
    mixed = [
        F.scaled_dot_product_attention(
            *(piece.transpose(0, 1)[None] for piece in prompt),
            is_causal=True,
            scale=scaling,
            enable_gqa=True,
        )[0].transpose(0, 1)
        for prompt in zip(*pieces, strict=True)
    ]
    return torch.cat(mixed)


def _varlen_kernel_fits(query: torch.Tensor) -> bool:
    """Flash attention wants an Ampere card or newer and 16-bit numbers."""
    return (
        query.is_cuda
        and query.dtype in (torch.float16, torch.bfloat16)
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
        and query.shape[-1] % 8 == 0
    )


def _decode_attention(query, keys, values, slots: SlotBatch, scaling: float) -> torch.Tensor:
    """One new token a row against its slot, without repeating the key/value heads."""
    rows, heads, head_dim = query.shape
    kv_heads = keys.shape[1]
    filled = torch.arange(slots.longest, device=query.device) <= slots.positions[:, None]
    mixed = F.scaled_dot_product_attention(
        query.view(rows, kv_heads, heads // kv_heads, head_dim),
        keys[:rows, :, : slots.longest],
        values[:rows, :, : slots.longest],
        attn_mask=filled[:, None, None],
        scale=scaling,
    )
    return mixed.reshape(rows, heads, head_dim)
