"""Triton kernels of LoRA adapters: dropout and the two thin products in one pass over the input.

Up to three adapters read the same input (q, k, v). Each draws its own dropout mask, all from one
hash of place and seed, so that the backward pass can draw the masks again. A seed is a number on
the GPU, a 0-dim int32 tensor.
"""

import torch
import triton
import triton.language as tl

HASH_BITS = 24  # of a 32-bit hash decide whether an input of an adapter is dropped
# Tokens and columns of a tile, warps, pipeline stages: the fastest of a few on an H200.
DOWN = {"BLOCK_T": 64, "BLOCK_K": 64, "num_warps": 4, "num_stages": 4}
GRAD_A = {"BLOCK_T": 64, "BLOCK_K": 128, "num_warps": 4, "num_stages": 3}
GRAD_X = {"BLOCK_T": 32, "BLOCK_K": 128, "num_warps": 4, "num_stages": 3}


@triton.jit
def _mix(value):
    """murmur3's finaliser: 32 random bits of a number."""
    value ^= value >> 16
    value *= 0x85EBCA6B
    value ^= value >> 13
    value *= 0xC2B2AE35
    return value ^ (value >> 16)


@triton.jit
def _hash(rows, columns, seed):
    """32 random bits for every place: rows and columns are mixed once, places only joined."""
    left = _mix(rows.to(tl.uint32) ^ seed.to(tl.uint32))
    right = _mix(columns.to(tl.uint32) + 0x9E3779B1)
    h = (left[:, None] ^ right[None, :]) * 0x9E3779B1
    h ^= h >> 15
    return h * 0x85EBCA6B


@triton.jit
def _masked(tile, h, THRESHOLD: tl.constexpr, ADAPTER: tl.constexpr):
    """`tile` with what this adapter drops set to 0; every adapter draws its own mask from h."""
    if THRESHOLD > 0:
        if ADAPTER == 1:
            h *= 0x2C1B3C6D
        if ADAPTER == 2:
            h *= 0x297A2D39
        tile = tl.where((h >> 8).to(tl.int32) >= THRESHOLD, tile, 0.0)
    return tile


@triton.jit
def _factor(a, first, columns, WIDTH: tl.constexpr, RANK: tl.constexpr, BLOCK_R: tl.constexpr):
    """(BLOCK_K, BLOCK_R): rows first … first + RANK of a, transposed."""
    ranks = tl.arange(0, BLOCK_R)
    return tl.load(
        a + (first + ranks)[None, :] * WIDTH + columns[:, None],
        (ranks < RANK)[None, :] & (columns < WIDTH)[:, None],
        other=0.0,
    )


@triton.jit(do_not_specialize=["tokens", "seed"])
def _lora_down(
    x, a, u, copy, tokens, x_stride, u_stride, copy_stride, seed, scale,
    WIDTH: tl.constexpr, RANK: tl.constexpr, BLOCK_R: tl.constexpr, COUNT: tl.constexpr,
    PAD: tl.constexpr, BLOCK_P: tl.constexpr, THRESHOLD: tl.constexpr, COPY: tl.constexpr,
    BLOCK_T: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)
    wide_rows = rows.to(tl.int64)[:, None]
    inside = (rows < tokens)[:, None]
    number = tl.load(seed)
    u0 = tl.zeros((BLOCK_T, BLOCK_R), dtype=tl.float32)
    u1 = tl.zeros((BLOCK_T, BLOCK_R), dtype=tl.float32)
    u2 = tl.zeros((BLOCK_T, BLOCK_R), dtype=tl.float32)
    for start in range(0, WIDTH, BLOCK_K):
        columns = start + tl.arange(0, BLOCK_K)
        here = inside & (columns < WIDTH)[None, :]
        tile = tl.load(x + wide_rows * x_stride + columns[None, :], here, other=0.0)
        if COPY:
            tl.store(copy + wide_rows * copy_stride + columns[None, :], tile, here)
        h = _hash(rows, columns, number)
        factor = _factor(a, 0, columns, WIDTH, RANK, BLOCK_R)
        u0 = tl.dot(_masked(tile, h, THRESHOLD, 0), factor, u0)
        if COUNT > 1:
            factor = _factor(a, RANK, columns, WIDTH, RANK, BLOCK_R)
            u1 = tl.dot(_masked(tile, h, THRESHOLD, 1), factor, u1)
        if COUNT > 2:
            factor = _factor(a, 2 * RANK, columns, WIDTH, RANK, BLOCK_R)
            u2 = tl.dot(_masked(tile, h, THRESHOLD, 2), factor, u2)
    dtype = u.dtype.element_ty
    ranks = tl.arange(0, BLOCK_R)
    at = u + wide_rows * u_stride + ranks[None, :]
    real = inside & (ranks < RANK)[None, :]
    tl.store(at, (u0 * scale).to(dtype), real)
    if COUNT > 1:
        tl.store(at + RANK, (u1 * scale).to(dtype), real)
    if COUNT > 2:
        tl.store(at + 2 * RANK, (u2 * scale).to(dtype), real)
    rest = tl.arange(0, BLOCK_P)
    empty = inside & ((rest >= COUNT * RANK) & (rest < PAD))[None, :]
    tl.store(u + wide_rows * u_stride + rest[None, :], tl.zeros((BLOCK_T, BLOCK_P), dtype), empty)


def lora_down(x, a, u, p, seed, scale, count, copy=None):
    """u_i = scale / (1 − p) · dropout_i(x) · a_iᵀ side by side, further columns of u zeroed.

    x: (tokens, width), a: (count · rank, width), u: (tokens, ≥ count · rank). With `copy`, x is
    also written there.
    """
    tokens, width = x.shape
    rank = a.shape[0] // count
    _lora_down[(triton.cdiv(tokens, DOWN["BLOCK_T"]),)](
        x, a, u, x if copy is None else copy, tokens,
        x.stride(0), u.stride(0), 0 if copy is None else copy.stride(0), seed, scale / (1 - p),
        WIDTH=width, RANK=rank, BLOCK_R=max(16, triton.next_power_of_2(rank)), COUNT=count,
        PAD=u.shape[1], BLOCK_P=triton.next_power_of_2(u.shape[1]),
        THRESHOLD=_threshold(p), COPY=copy is not None,
        **DOWN,
    )  # fmt: skip


@triton.jit
def _upstream(du, rows, inside, du_stride, first, RANK: tl.constexpr, BLOCK_R: tl.constexpr):
    """(BLOCK_R, BLOCK_T): columns first … first + RANK of du, transposed."""
    ranks = tl.arange(0, BLOCK_R)
    return tl.load(
        du + rows[None, :] * du_stride + (first + ranks)[:, None],
        (ranks < RANK)[:, None] & inside[None, :],
        other=0.0,
    )


@triton.jit(do_not_specialize=["tokens", "seed", "per_split"])
def _lora_grad_a(
    x, du, out, tokens, per_split, x_stride, du_stride, seed,
    WIDTH: tl.constexpr, RANK: tl.constexpr, BLOCK_R: tl.constexpr, COUNT: tl.constexpr,
    THRESHOLD: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    columns = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    split = tl.program_id(1)
    wide = (columns < WIDTH)[None, :]
    number = tl.load(seed)
    a0 = tl.zeros((BLOCK_R, BLOCK_K), dtype=tl.float32)
    a1 = tl.zeros((BLOCK_R, BLOCK_K), dtype=tl.float32)
    a2 = tl.zeros((BLOCK_R, BLOCK_K), dtype=tl.float32)
    end = tl.minimum(tokens, (split + 1) * per_split)
    for start in range(split * per_split, end, BLOCK_T):
        rows = start + tl.arange(0, BLOCK_T)
        far = rows.to(tl.int64)
        inside = rows < end
        here = inside[:, None] & wide
        tile = tl.load(x + far[:, None] * x_stride + columns[None, :], here, other=0.0)
        h = _hash(rows, columns, number)
        left = _upstream(du, far, inside, du_stride, 0, RANK, BLOCK_R)
        a0 = tl.dot(left, _masked(tile, h, THRESHOLD, 0), a0)
        if COUNT > 1:
            left = _upstream(du, far, inside, du_stride, RANK, RANK, BLOCK_R)
            a1 = tl.dot(left, _masked(tile, h, THRESHOLD, 1), a1)
        if COUNT > 2:
            left = _upstream(du, far, inside, du_stride, 2 * RANK, RANK, BLOCK_R)
            a2 = tl.dot(left, _masked(tile, h, THRESHOLD, 2), a2)
    ranks = tl.arange(0, BLOCK_R)
    at = out + (split * (COUNT * RANK) + ranks)[:, None] * WIDTH + columns[None, :]
    real = (ranks < RANK)[:, None] & wide
    tl.store(at, a0, real)
    if COUNT > 1:
        tl.store(at + RANK * WIDTH, a1, real)
    if COUNT > 2:
        tl.store(at + 2 * RANK * WIDTH, a2, real)


def lora_grad_a(x, du, p, seed, scale, count):
    """Gradients of a_i, scale / (1 − p) · du_iᵀ · dropout_i(x), stacked; float32."""
    tokens, width = x.shape
    rank = du.shape[1] // count
    block = GRAD_A["BLOCK_T"]
    splits = max(1, min(16, triton.cdiv(tokens, 512)))
    per_split = triton.cdiv(triton.cdiv(tokens, splits), block) * block
    parts = torch.empty((splits, count * rank, width), dtype=torch.float32, device=x.device)
    _lora_grad_a[(triton.cdiv(width, GRAD_A["BLOCK_K"]), splits)](
        x, du, parts, tokens, per_split, x.stride(0), du.stride(0), seed,
        WIDTH=width, RANK=rank, BLOCK_R=max(16, triton.next_power_of_2(rank)), COUNT=count,
        THRESHOLD=_threshold(p), **GRAD_A,
    )  # fmt: skip
    return parts.sum(0).mul_(scale / (1 - p))


@triton.jit(do_not_specialize=["tokens", "seed"])
def _lora_grad_x(
    dx, du, a, tokens, dx_stride, du_stride, seed, scale,
    WIDTH: tl.constexpr, RANK: tl.constexpr, BLOCK_R: tl.constexpr, COUNT: tl.constexpr,
    THRESHOLD: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(1) * BLOCK_T + tl.arange(0, BLOCK_T)
    columns = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    ranks = tl.arange(0, BLOCK_R)
    far = rows.to(tl.int64)[:, None]
    inside, wide = (rows < tokens)[:, None], (columns < WIDTH)[None, :]
    h = _hash(rows, columns, tl.load(seed))
    delta = tl.zeros((BLOCK_T, BLOCK_K), dtype=tl.float32)
    for adapter in tl.static_range(COUNT):
        place = adapter * RANK + ranks
        left = tl.load(
            du + far * du_stride + place[None, :], inside & (ranks < RANK)[None, :], other=0.0
        )
        right = tl.load(
            a + place[:, None] * WIDTH + columns[None, :], (ranks < RANK)[:, None] & wide, other=0.0
        )
        delta += _masked(tl.dot(left, right), h, THRESHOLD, adapter)
    at = dx + far * dx_stride + columns[None, :]
    value = tl.load(at, inside & wide, other=0.0)
    tl.store(at, (value + delta * scale).to(value.dtype), inside & wide)


def lora_grad_x_(dx, du, a, p, seed, scale, count):
    """dx += scale / (1 − p) · Σ mask_i · (du_i · a_i); dx: (tokens, width)."""
    tokens, width = dx.shape
    rank = a.shape[0] // count
    grid = (triton.cdiv(width, GRAD_X["BLOCK_K"]), triton.cdiv(tokens, GRAD_X["BLOCK_T"]))
    _lora_grad_x[grid](
        dx, du, a, tokens, dx.stride(0), du.stride(0), seed, scale / (1 - p),
        WIDTH=width, RANK=rank, BLOCK_R=max(16, triton.next_power_of_2(rank)), COUNT=count,
        THRESHOLD=_threshold(p), **GRAD_X,
    )  # fmt: skip


def _threshold(p: float) -> int:
    return round(p * 2**HASH_BITS)
