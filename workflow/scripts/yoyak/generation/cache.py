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

from yoyak.models.attention import flash_fits, flash_forward, per_sequence, refuse_others

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
    """(kv_heads, capacity, head_dim) of one layer's keys, or values, in one slot.

    As most architectures have them; `attend` refuses a layer whose keys or values differ.

    Raises ValueError where there are none, or not of one size.
    """
    heads = getattr(config, "num_attention_heads", None)
    if heads is None or getattr(config, "is_heterogeneous", False):
        raise ValueError("its layers have no keys, or of several sizes")
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    return getattr(config, "num_key_value_heads", None) or heads, capacity, head_dim


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
        copies: so many tokens at the end of a decoding step are copies of the first, to fill up.
    """

    cache: SlotCache
    slots: torch.Tensor
    positions: torch.Tensor
    longest: int = 0
    boundaries: torch.Tensor | None = None
    ends: tuple[int, ...] = ()
    copies: int = 0


def attend(
    batch: SlotBatch, layer: int, query, key, value, scaling: float, window: int | None = None
) -> torch.Tensor:
    """Write the new keys and values into the slots; attend over what is filled.

    Args:
        query: (T, heads, head_dim), rotated; key, value: (T, kv_heads, head_dim).
        window: positions that a token sees, its own included; None: all before it.

    Returns:
        (T, heads, head_dim).

    Raises:
        ValueError: this layer's keys or values are not of the cache's shape.
    """
    keys, values = batch.cache.keys[layer], batch.cache.values[layer]
    expected = (len(query), keys.shape[1], keys.shape[3])
    if key.shape != expected or value.shape != expected:  # writing would broadcast without a word
        shapes = f"keys {tuple(key.shape)} and values {tuple(value.shape)}"
        raise ValueError(f"layer {layer} has {shapes}, the cache's slots have {expected}")
    keys[batch.slots, :, batch.positions] = key
    values[batch.slots, :, batch.positions] = value
    if batch.boundaries is None:
        rows = len(query) - batch.copies
        mixed = _newest(query[:rows], keys, values, batch, scaling, window)
        return torch.cat([mixed, mixed[:1].expand(batch.copies, -1, -1)]) if batch.copies else mixed
    if query.is_cuda and flash_fits(query):
        return flash_forward(query, key, value, scaling, batch.boundaries, batch.longest, window)[0]
    query, key, value = (part.transpose(0, 1)[None] for part in (query, key, value))
    return per_sequence(query, key, value, scaling, batch.ends, window)[0]


def slot_attention(
    module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    slots: SlotBatch | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **others,
) -> tuple[torch.Tensor, None]:
    """`attend` in the form that transformers calls, for architectures without a fused forward.

    Args:
        query: (1, heads, T, head_dim), rotated; key, value: (1, kv_heads, T, head_dim).
        slots: handed through the model's keyword arguments.
        sliding_window: of this layer.

    Returns:
        ((1, T, heads, head_dim), None).

    Raises:
        ValueError: the model asks for something that is not implemented here (a mask of its own,
            softcap, sinks …).
    """
    refuse_others(others)
    if slots is None:
        raise ValueError("the model hands no keywords on to its attention")
    if attention_mask is not None:
        raise ValueError("attention with a mask of the model's own is not implemented here")
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))
    mixed = attend(slots, module.layer_idx, query, key, value, scaling, sliding_window)
    return mixed[None], None


AttentionInterface.register(SLOT_ATTENTION, slot_attention)


def _newest(query, keys, values, batch: SlotBatch, scaling: float, window: int | None):
    """One new token a row against its slot, without repeating the key/value heads."""
    rows, heads, head_dim = query.shape
    positions = batch.positions[:rows]
    if query.is_cuda:
        from yoyak.generation.decode_kernel import decode_attention

        return decode_attention(query, keys, values, positions, scaling, window)
    kv_heads = keys.shape[1]
    place = torch.arange(batch.longest, device=query.device)
    filled = place <= positions[:, None]
    if window is not None:
        filled &= place > positions[:, None] - window
    mixed = F.scaled_dot_product_attention(
        query.reshape(rows, kv_heads, heads // kv_heads, head_dim),
        keys[:rows, :, : batch.longest],
        values[:rows, :, : batch.longest],
        attn_mask=filled[:, None, None],
        scale=scaling,
    )
    return mixed.reshape(rows, heads, head_dim)
