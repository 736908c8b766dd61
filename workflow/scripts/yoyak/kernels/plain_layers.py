"""The fused decoder layer's kernels in plain torch: for the CPU, and as a reference in tests."""

import torch
from torch.nn.functional import silu

from yoyak.models.attention import per_sequence

HASH_BITS = 24


def rms_norm(x, weight, eps, out, delta=None):
    total = x if delta is None else x + delta
    rstd = torch.rsqrt(total.float().pow(2).mean(1) + eps)
    out[:, : x.shape[1]] = (total.float() * rstd[:, None]).to(x.dtype) * weight
    return total, rstd


def rms_norm_backward(grad, x, weight, rstd, add):
    normal = x.float() * rstd[:, None]
    inner = grad[:, : x.shape[1]].float() * weight.float()
    result = rstd[:, None] * (inner - normal * (inner * normal).mean(1, keepdim=True))
    return (result + add.float()).to(x.dtype)


def rotate(x, out, cos, sin, head_dim, weight=None, eps=0.0):
    heads = x.float().unflatten(1, (-1, head_dim))
    if weight is not None:
        heads = heads * torch.rsqrt(heads.pow(2).mean(2, keepdim=True) + eps) * weight.float()
    first, second = heads.chunk(2, 2)
    c, s = (table.float()[:, None, : head_dim // 2] for table in (cos, sin))
    turned = torch.cat([first * c - second * s, second * c + first * s], 2)
    out.copy_(turned.flatten(1))


def rotate_backward(grad, x, out, cos, sin, head_dim, weight=None, eps=0.0):
    first, second = grad.float().unflatten(1, (-1, head_dim)).chunk(2, 2)
    c, s = (table.float()[:, None, : head_dim // 2] for table in (cos, sin))
    back = torch.cat([first * c + second * s, second * c - first * s], 2)
    if weight is not None:
        heads = x.float().unflatten(1, (-1, head_dim))
        scale = torch.rsqrt(heads.pow(2).mean(2, keepdim=True) + eps)
        heads, back = heads * scale, back * weight.float()
        back = scale * (back - heads * (back * heads).mean(2, keepdim=True))
    out.copy_(back.flatten(1))


def swiglu(both, out):
    gate, up = both.float().chunk(2, 1)
    out[:, : gate.shape[1]] = (silu(gate) * up).to(both.dtype)


def swiglu_backward_(grad, both):
    gate, up = both.float().chunk(2, 1)
    upstream, sigmoid = grad[:, : gate.shape[1]].float(), torch.sigmoid(gate)
    slope = sigmoid + gate * sigmoid * (1 - sigmoid)
    both.copy_(torch.cat([upstream * up * slope, upstream * gate * sigmoid], 1))


def kept(tokens: int, width: int, p: float, seed: int, adapter: int, device) -> torch.Tensor:
    """(tokens, width) bool: what an adapter's dropout leaves, hashed as in triton_adapters.py."""
    left = _mix(torch.arange(tokens, device=device) ^ seed)
    right = _mix(torch.arange(width, device=device) + 0x9E3779B1)
    h = _multiply(left[:, None] ^ right[None, :], 0x9E3779B1)
    h ^= h >> 15
    h = _multiply(_multiply(h, 0x85EBCA6B), (1, 0x2C1B3C6D, 0x297A2D39)[adapter])
    return (h >> 8) >= round(p * 2**HASH_BITS)


def _mix(value):
    value = value ^ (value >> 16)
    value = _multiply(value, 0x85EBCA6B)
    value = value ^ (value >> 13)
    value = _multiply(value, 0xC2B2AE35)
    return value ^ (value >> 16)


def _multiply(h, constant):
    return (h * constant) & 0xFFFFFFFF  # int64 wraps, its low 32 bits are right all the same


def _dropped(x, p, seed, adapter):
    tokens, width = x.shape
    return x if p == 0 else x * kept(tokens, width, p, seed, adapter, x.device)


def lora_down(x, a, u, p, seed, scale, count, copy=None):
    if copy is not None:
        copy.copy_(x)
    products = [
        _dropped(x, p, seed, adapter).float() @ part.float().T
        for adapter, part in enumerate(a.chunk(count))
    ]
    u.zero_()
    u[:, : a.shape[0]] = (torch.cat(products, 1) * (scale / (1 - p))).to(u.dtype)


def lora_grad_a(x, du, p, seed, scale, count):
    parts = [
        part.float().T @ _dropped(x, p, seed, adapter).float()
        for adapter, part in enumerate(du.chunk(count, 1))
    ]
    return torch.cat(parts) * (scale / (1 - p))


def lora_grad_x_(dx, du, a, p, seed, scale, count):
    pairs = zip(du.chunk(count, 1), a.chunk(count), strict=True)
    delta = sum(
        _dropped(left.float() @ right.float(), p, seed, adapter)
        for adapter, (left, right) in enumerate(pairs)
    )
    dx.copy_(dx.float() + delta * (scale / (1 - p)))


def dequantize(weight, out):
    from bitsandbytes.functional import dequantize_4bit

    out.copy_(dequantize_4bit(weight.data, weight.quant_state))


def attention(query, key, value, scaling, boundaries, window=None):
    """(1, heads, tokens, dim) in, (1, tokens, heads, dim) out; the block diagonal of a pack."""
    return per_sequence(query, key, value, scaling, boundaries, window)
