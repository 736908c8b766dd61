"""The key/value cache of generation: one slot a row, and the attention that reads it.

The model runs over a flat row of tokens. Attention writes the new keys and values into the slots
and reads back only what is filled: there is no padding in a prefill and no copy of the cache. For a
model's own forward the same attention is registered with transformers as `SLOT_ATTENTION`, which
needs no cache argument and so does not depend on how a version names it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import AttentionInterface

from yoyak.models.attention import flash_fits, flash_forward, per_sequence

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
        longest: tokens of the longest prompt in a prefill; in a decoding step on the CPU the
            positions that the longest row fills, its new token included.
        boundaries: (prompts + 1,) int32 cumulative lengths of a prefill, on the device; None in a
            decoding step, where token i is the newest of slot i.
        ends: the same as Python ints.
    """

    cache: SlotCache
    slots: torch.Tensor
    positions: torch.Tensor
    longest: int = 0
    boundaries: torch.Tensor | None = None
    ends: tuple[int, ...] = ()


def attend(batch: SlotBatch, layer: int, query, key, value, scaling: float) -> torch.Tensor:
    """Write the new keys and values into the slots; attend over what is filled.

    Args:
        query: (T, heads, head_dim), rotated; key, value: (T, kv_heads, head_dim).

    Returns:
        (T, heads, head_dim).
    """
    keys, values = batch.cache.keys[layer], batch.cache.values[layer]
    keys[batch.slots, :, batch.positions] = key
    values[batch.slots, :, batch.positions] = value
    if batch.boundaries is None and query.is_cuda:
        from yoyak.evaluation.decode_kernel import decode_attention

        return decode_attention(query, keys, values, batch.positions, scaling)
    if batch.boundaries is None:
        return _decode_attention(query, keys, values, batch, scaling)
    if query.is_cuda and flash_fits(query):
        return flash_forward(query, key, value, scaling, batch.boundaries, batch.longest)[0]
    parts = (part.transpose(0, 1)[None] for part in (query, key, value))
    return per_sequence(*parts, scaling, batch.ends)[0]


def slot_attention(module, query, key, value, attention_mask, *, slots, scaling, **_):
    """`attend` in the form that transformers calls, for architectures without a fused forward.

    Args:
        query: (1, heads, T, head_dim), rotated; key, value: (1, kv_heads, T, head_dim).
        slots: the `SlotBatch`, handed through the model's keyword arguments.

    Returns:
        ((1, T, heads, head_dim), None).
    """
    parts = (part[0].transpose(0, 1) for part in (query, key, value))
    return attend(slots, module.layer_idx, *parts, scaling)[None], None


AttentionInterface.register(SLOT_ATTENTION, slot_attention)


def _decode_attention(query, keys, values, slots: SlotBatch, scaling: float) -> torch.Tensor:
    """One new token a row against its slot, without repeating the key/value heads."""
    rows, heads, head_dim = query.shape
    kv_heads = keys.shape[1]
    filled = torch.arange(slots.longest, device=query.device) <= slots.positions[:, None]
    mixed = F.scaled_dot_product_attention(
        query.reshape(rows, kv_heads, heads // kv_heads, head_dim),
        keys[:rows, :, : slots.longest],
        values[:rows, :, : slots.longest],
        attn_mask=filled[:, None, None],
        scale=scaling,
    )
    return mixed.reshape(rows, heads, head_dim)
