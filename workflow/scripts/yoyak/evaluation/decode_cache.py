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

from yoyak.models.attention import packed_attention

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


def slot_attention(module, query, new_key, new_value, attention_mask, *, slots, scaling, **_):
    """Attention over the slots, in the form that transformers calls.

    Args:
        query: (1, heads, T, head_dim), rotated; new_key, new_value: (1, kv_heads, T, head_dim).
        slots: the `SlotBatch`, handed through the model's keyword arguments.

    Returns:
        ((1, T, heads, head_dim), None).
    """
    cache, layer = slots.cache, module.layer_idx
    keys, values = cache.keys[layer], cache.values[layer]
    keys[slots.slots, :, slots.positions] = new_key[0].transpose(0, 1)  # (T, kv_heads, head_dim)
    values[slots.slots, :, slots.positions] = new_value[0].transpose(0, 1)
    if slots.boundaries is not None:
        return packed_attention(
            module,
            query,
            new_key,
            new_value,
            None,
            scaling=scaling,
            cu_seq_lens_q=slots.boundaries,
            max_length_q=slots.longest,
            boundaries=slots.ends,
        )
    query = query[0].transpose(0, 1)  # (T, heads, head_dim)
    if query.is_cuda:
        from yoyak.evaluation.decode_kernel import decode_attention

        mixed = decode_attention(query, keys, values, slots.positions, scaling)
    else:
        mixed = _decode_attention(query, keys, values, slots, scaling)
    return mixed[None], None


AttentionInterface.register(SLOT_ATTENTION, slot_attention)


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
