"""Triton kernels of the fused decoder layer; plain_layers.py has the same functions in torch.

All tensors are rows of tokens, (tokens, columns), with contiguous columns and any row stride, so
that a result can be written straight into the wider buffer that the next product reads.
"""

import torch
import triton
import triton.language as tl

from yoyak.kernels.triton_adapters import lora_down, lora_grad_a, lora_grad_x_  # noqa: F401

# ---- normalisation ----


@triton.jit
def _rms_norm(
    x, delta, total, weight, out, rstd, x_stride, delta_stride, out_stride, eps,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, ADD: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < WIDTH
    value = tl.load(x + row * x_stride + columns, inside, other=0.0)
    if ADD:
        value += tl.load(delta + row * delta_stride + columns, inside, other=0.0)
        tl.store(total + row * WIDTH + columns, value, inside)
    wide = value.to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(wide * wide) / WIDTH + eps)
    normal = (wide * scale).to(value.dtype).to(tl.float32)  # rounded here, as transformers does
    gain = tl.load(weight + columns, inside, other=0.0).to(tl.float32)
    tl.store(out + row * out_stride + columns, (normal * gain).to(value.dtype), inside)
    tl.store(rstd + row, scale)


def rms_norm(x, weight, eps, out, delta=None):
    """out[:, :width] = RMSNorm(x + delta) · weight.

    Returns: (x + delta, or x itself without delta; reciprocal of the root mean square, float32).
    """
    tokens, width = x.shape
    rstd = torch.empty(tokens, dtype=torch.float32, device=x.device)
    total = x if delta is None else torch.empty_like(x)
    _rms_norm[(tokens,)](
        x, x if delta is None else delta, total, weight, out, rstd,
        x.stride(0), 0 if delta is None else delta.stride(0), out.stride(0), eps,
        WIDTH=width, BLOCK=triton.next_power_of_2(width), ADD=delta is not None,
        num_warps=8 if width > 1024 else 4,
    )  # fmt: skip
    return total, rstd


@triton.jit
def _rms_norm_backward(
    grad, x, weight, rstd, add, out, grad_stride,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < WIDTH
    scale = tl.load(rstd + row)
    normal = tl.load(x + row * WIDTH + columns, inside, other=0.0).to(tl.float32) * scale
    inner = tl.load(grad + row * grad_stride + columns, inside, other=0.0).to(tl.float32)
    inner *= tl.load(weight + columns, inside, other=0.0).to(tl.float32)
    result = scale * (inner - normal * (tl.sum(inner * normal) / WIDTH))
    residual = tl.load(add + row * WIDTH + columns, inside, other=0.0)
    tl.store(out + row * WIDTH + columns, (result + residual).to(residual.dtype), inside)


def rms_norm_backward(grad, x, weight, rstd, add):
    """Gradient with respect to x of RMSNorm(x) · weight, plus `add`, the residual's gradient."""
    tokens, width = x.shape
    out = torch.empty_like(x)
    _rms_norm_backward[(tokens,)](
        grad, x, weight, rstd, add, out, grad.stride(0),
        WIDTH=width, BLOCK=triton.next_power_of_2(width), num_warps=8 if width > 1024 else 4,
    )  # fmt: skip
    return out


# ---- rotary positions, with or without Qwen3's norm of every head ----


@triton.jit
def _rotate(
    x, out, cos, sin, weight, x_stride, out_stride, table_stride, eps,
    HEADS: tl.constexpr, BLOCK_H: tl.constexpr, HALF: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    heads, lanes = tl.arange(0, BLOCK_H), tl.arange(0, HALF)
    inside = (heads < HEADS)[:, None]
    place = heads[:, None] * (2 * HALF) + lanes[None, :]
    first = tl.load(x + row * x_stride + place, inside, other=0.0)
    dtype = first.dtype
    first = first.to(tl.float32)
    second = tl.load(x + row * x_stride + place + HALF, inside, other=0.0).to(tl.float32)
    if NORM:
        square = tl.sum(first * first, 1) + tl.sum(second * second, 1)
        scale = (1.0 / tl.sqrt(square / (2 * HALF) + eps))[:, None]
        first = first * scale * tl.load(weight + lanes).to(tl.float32)[None, :]
        second = second * scale * tl.load(weight + lanes + HALF).to(tl.float32)[None, :]
    c = tl.load(cos + row * table_stride + lanes).to(tl.float32)[None, :]
    s = tl.load(sin + row * table_stride + lanes).to(tl.float32)[None, :]
    tl.store(out + row * out_stride + place, (first * c - second * s).to(dtype), inside)
    tl.store(out + row * out_stride + place + HALF, (second * c + first * s).to(dtype), inside)


def rotate(x, out, cos, sin, head_dim, weight=None, eps=0.0):
    """out = rotary(x), head by head; with `weight`, every head is RMS-normalised before.

    x, out: (tokens, heads · head_dim), may be the same; cos, sin: (tokens, head_dim).
    """
    heads = x.shape[1] // head_dim
    _rotate[(x.shape[0],)](
        x, out, cos, sin, x if weight is None else weight,
        x.stride(0), out.stride(0), cos.stride(0), eps,
        HEADS=heads, BLOCK_H=triton.next_power_of_2(heads), HALF=head_dim // 2,
        NORM=weight is not None,
    )  # fmt: skip


@triton.jit
def _rotate_backward(
    grad, x, out, cos, sin, weight, grad_stride, x_stride, out_stride, table_stride, eps,
    HEADS: tl.constexpr, BLOCK_H: tl.constexpr, HALF: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    heads, lanes = tl.arange(0, BLOCK_H), tl.arange(0, HALF)
    inside = (heads < HEADS)[:, None]
    place = heads[:, None] * (2 * HALF) + lanes[None, :]
    first = tl.load(grad + row * grad_stride + place, inside, other=0.0)
    dtype = first.dtype
    first = first.to(tl.float32)
    second = tl.load(grad + row * grad_stride + place + HALF, inside, other=0.0).to(tl.float32)
    c = tl.load(cos + row * table_stride + lanes).to(tl.float32)[None, :]
    s = tl.load(sin + row * table_stride + lanes).to(tl.float32)[None, :]
    left, right = first * c + second * s, second * c - first * s
    if NORM:
        x1 = tl.load(x + row * x_stride + place, inside, other=0.0).to(tl.float32)
        x2 = tl.load(x + row * x_stride + place + HALF, inside, other=0.0).to(tl.float32)
        square = tl.sum(x1 * x1, 1) + tl.sum(x2 * x2, 1)
        scale = (1.0 / tl.sqrt(square / (2 * HALF) + eps))[:, None]
        x1, x2 = x1 * scale, x2 * scale
        left *= tl.load(weight + lanes).to(tl.float32)[None, :]
        right *= tl.load(weight + lanes + HALF).to(tl.float32)[None, :]
        mean = ((tl.sum(left * x1, 1) + tl.sum(right * x2, 1)) / (2 * HALF))[:, None]
        left, right = scale * (left - x1 * mean), scale * (right - x2 * mean)
    tl.store(out + row * out_stride + place, left.to(dtype), inside)
    tl.store(out + row * out_stride + place + HALF, right.to(dtype), inside)


def rotate_backward(grad, x, out, cos, sin, head_dim, weight=None, eps=0.0):
    """out = gradient with respect to `rotate`'s x; x itself is read with `weight` only."""
    heads = grad.shape[1] // head_dim
    _rotate_backward[(grad.shape[0],)](
        grad, x, out, cos, sin, x if weight is None else weight,
        grad.stride(0), x.stride(0), out.stride(0), cos.stride(0), eps,
        HEADS=heads, BLOCK_H=triton.next_power_of_2(heads), HALF=head_dim // 2,
        NORM=weight is not None,
    )  # fmt: skip


# ---- gated activation ----


@triton.jit
def _swiglu(both, out, out_stride, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < WIDTH
    gate = tl.load(both + row * (2 * WIDTH) + columns, inside, other=0.0)
    up = tl.load(both + row * (2 * WIDTH) + WIDTH + columns, inside, other=0.0).to(tl.float32)
    wide = gate.to(tl.float32)
    result = wide * tl.sigmoid(wide) * up
    tl.store(out + row * out_stride + columns, result.to(gate.dtype), inside)


def swiglu(both, out):
    """out[:, :width] = silu(gate) · up, with both = (tokens, 2 · width), gate first."""
    tokens, width = both.shape[0], both.shape[1] // 2
    block = 2048
    grid = (tokens, triton.cdiv(width, block))
    _swiglu[grid](both, out, out.stride(0), WIDTH=width, BLOCK=block, num_warps=4)


@triton.jit
def _swiglu_backward(grad, both, grad_stride, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < WIDTH
    at = both + row * (2 * WIDTH) + columns
    gate = tl.load(at, inside, other=0.0)
    up = tl.load(at + WIDTH, inside, other=0.0).to(tl.float32)
    wide = gate.to(tl.float32)
    upstream = tl.load(grad + row * grad_stride + columns, inside, other=0.0).to(tl.float32)
    sigmoid = tl.sigmoid(wide)
    silu = wide * sigmoid
    tl.store(at, (upstream * up * (sigmoid + silu * (1 - sigmoid))).to(gate.dtype), inside)
    tl.store(at + WIDTH, (upstream * silu).to(gate.dtype), inside)


def swiglu_backward_(grad, both):
    """Overwrite `both` with the gradient with respect to it; grad: (tokens, ≥ width)."""
    tokens, width = both.shape[0], both.shape[1] // 2
    block = 2048
    grid = (tokens, triton.cdiv(width, block))
    _swiglu_backward[grid](grad, both, grad.stride(0), WIDTH=width, BLOCK=block, num_warps=4)


# ---- NF4 ----


@triton.jit
def _dequantize(
    packed, absmax, code, absmax2, code2, offset, out, length, out_stride,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, BLOCK2: tl.constexpr, NESTED: tl.constexpr,
    SIZE: tl.constexpr,
):  # fmt: skip
    byte = tl.program_id(0) * SIZE + tl.arange(0, SIZE)
    inside = byte < length
    both = tl.load(packed + byte, inside, other=0).to(tl.int32)
    block = byte // (BLOCK // 2)
    if NESTED:
        level = tl.load(absmax + block, inside, other=0).to(tl.int32)
        scale = tl.load(code2 + level) * tl.load(absmax2 + block // BLOCK2, inside, other=0.0)
        scale += tl.load(offset)
    else:
        scale = tl.load(absmax + block, inside, other=0.0)
    value = tl.interleave(tl.load(code + (both >> 4)) * scale, tl.load(code + (both & 15)) * scale)
    element = tl.program_id(0) * (2 * SIZE) + tl.arange(0, 2 * SIZE)
    place = (element // WIDTH).to(tl.int64) * out_stride + element % WIDTH
    tl.store(out + place, value.to(out.dtype.element_ty), element < 2 * length)


def dequantize(weight, out):
    """Write the values of a bitsandbytes NF4 weight, bit-equal to its own, into out's rows."""
    state = weight.quant_state
    nested = state.state2 is not None
    size = 1024
    _dequantize[(triton.cdiv(weight.numel(), size),)](
        weight, state.absmax, state.code,
        state.state2.absmax if nested else state.absmax,
        state.state2.code if nested else state.code,
        state.offset if nested else state.absmax,
        out, weight.numel(), out.stride(0),
        WIDTH=state.shape[1], BLOCK=state.blocksize,
        BLOCK2=state.state2.blocksize if nested else 1, NESTED=nested, SIZE=size, num_warps=4,
    )  # fmt: skip
