"""Decode attention on a GPU: one new token a row, reading exactly what its slot has filled.

A padded static cache is read whole at every step, which is what makes generation with it slow.
Here one program handles the query heads that share a key/value head of one row, walks over the
filled positions once, and keeps a running softmax. Lengths live on the device, so a captured
graph replays correctly while they grow.
"""

import torch
import triton
import triton.language as tl

BLOCK = 64  # positions read at a time


def decode_attention(
    query, keys, values, positions, scaling: float, window: int | None = None
) -> torch.Tensor:
    """Attention of each row's newest token over its slot.

    Args:
        query: (rows, heads, head_dim).
        keys, values: (slots, kv_heads, capacity, head_dim), row i in slot i.
        positions: (rows,) int64, the newest token's position: it and all before it are read.
        window: read the last so many positions only; None: all.

    Returns:
        (rows, heads, head_dim).
    """
    rows, heads, head_dim = query.shape
    kv_heads = keys.shape[1]
    groups = heads // kv_heads
    query = query.contiguous()
    mixed = torch.empty_like(query)
    _attend[(rows, kv_heads)](
        query,
        keys,
        values,
        mixed,
        positions,
        scaling * 1.4426950408889634,  # log2(e): the kernel works with powers of two
        window or 0,
        keys.stride(0),
        keys.stride(1),
        keys.stride(2),
        HEADS=heads,
        GROUPS=groups,
        HEAD_DIM=head_dim,
        GROUP_BLOCK=max(16, triton.next_power_of_2(groups)),  # the matrix unit's smallest tile
        DIM_BLOCK=max(16, triton.next_power_of_2(head_dim)),
        # A block of keys and values must fit into the chip's shared memory, several times over.
        BLOCK=BLOCK if head_dim * query.element_size() < 1024 else BLOCK // 4,
        PRECISION="ieee" if query.dtype == torch.float32 else "tf32",
        num_warps=4,
        num_stages=3,
    )
    return mixed


@triton.jit
def _attend(
    query,
    keys,
    values,
    mixed,
    positions,
    scaling,
    window,
    slot_stride,
    head_stride,
    position_stride,
    HEADS: tl.constexpr,
    GROUPS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    GROUP_BLOCK: tl.constexpr,
    DIM_BLOCK: tl.constexpr,
    BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    row, kv_head = tl.program_id(0), tl.program_id(1)
    filled = tl.load(positions + row) + 1
    first = tl.where(window > 0, tl.maximum(filled - window, 0), 0)
    group = tl.arange(0, GROUP_BLOCK)
    dim = tl.arange(0, DIM_BLOCK)
    place = tl.arange(0, BLOCK)
    in_query = (group < GROUPS)[:, None] & (dim < HEAD_DIM)[None, :]
    query_at = (row * HEADS + kv_head * GROUPS + group)[:, None] * HEAD_DIM + dim[None, :]
    q = tl.load(query + query_at, mask=in_query, other=0.0)

    start_at = row.to(tl.int64) * slot_stride + kv_head * head_stride
    highest = tl.full((GROUP_BLOCK,), float("-inf"), tl.float32)
    total = tl.zeros((GROUP_BLOCK,), tl.float32)
    sums = tl.zeros((GROUP_BLOCK, DIM_BLOCK), tl.float32)
    for start in range(first // BLOCK * BLOCK, filled, BLOCK):  # whole blocks stay aligned
        valid = (start + place >= first) & (start + place < filled)
        at = start_at + (start + place)[:, None] * position_stride + dim[None, :]
        in_cache = valid[:, None] & (dim < HEAD_DIM)[None, :]
        k = tl.load(keys + at, mask=in_cache, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scaling
        scores = tl.where(valid[None, :], scores, float("-inf"))
        new_highest = tl.maximum(highest, tl.max(scores, 1))
        weights = tl.exp2(scores - new_highest[:, None])
        shrink = tl.exp2(highest - new_highest)
        v = tl.load(values + at, mask=in_cache, other=0.0)
        total = total * shrink + tl.sum(weights, 1)
        sums = sums * shrink[:, None]
        sums += tl.dot(weights.to(v.dtype), v, input_precision=PRECISION)
        highest = new_highest
    result = sums / total[:, None]
    tl.store(mixed + query_at, result.to(mixed.dtype.element_ty), mask=in_query)
