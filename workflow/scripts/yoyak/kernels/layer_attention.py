"""What a fused layer needs to know of a pack, and its attention."""

from dataclasses import dataclass

import torch

from yoyak.kernels import plain_layers
from yoyak.models.attention import flash_backward, flash_forward


@dataclass
class Rows:
    """A pack's rotary tables (tokens, head_dim) and boundaries.

    wanted: (n,) int64, the positions whose output is read at all, in the last layer; None: of all.
        One that comes twice must be read at one of its places only.
    """

    cos: torch.Tensor
    sin: torch.Tensor
    cu_seq_lens: torch.Tensor
    max_length: int
    boundaries: tuple[int, ...] | None
    wanted: torch.Tensor | None = None

    def take(self, states: torch.Tensor) -> torch.Tensor:
        """(tokens, width) at the positions that are read, (n, width)."""
        return states if self.wanted is None else states.index_select(0, self.wanted)

    def put_back(self, grad: torch.Tensor) -> torch.Tensor:
        """The gradient of what `take` took from."""
        if self.wanted is None:
            return grad
        whole = grad.new_zeros((len(self.cos), *grad.shape[1:]))
        return whole.index_add_(0, self.wanted, grad)


def window_of(attention) -> int | None:
    """Positions that a token sees, its own included; None: all before it."""
    if type(attention).__name__ == "MistralAttention":  # the others have it for each layer
        return getattr(attention.config, "sliding_window", None)
    return getattr(attention, "sliding_window", None)


def attend(ops, q, k, v, scaling, rows, window):
    """(tokens, heads, head_dim) in and out, and what the backward pass reads beside it."""
    if q.is_cuda:
        return flash_forward(q, k, v, scaling, rows.cu_seq_lens, rows.max_length, window)
    q, k, v = (part.transpose(0, 1).unsqueeze(0) for part in (q, k, v))
    return ops.attention(q, k, v, scaling, rows.boundaries, window)[0], None


def attend_backward(grad, q, k, v, attended, kept, scaling, rows, window):
    """The gradients of q, k and v."""
    if q.is_cuda:
        lengths = (rows.cu_seq_lens, rows.max_length)
        return flash_backward(grad, q, k, v, attended, kept, scaling, *lengths, window)
    with torch.enable_grad():
        q, k, v = (part.detach().requires_grad_() for part in (q, k, v))
        again, _ = attend(plain_layers, q, k, v, scaling, rows, window)
    return torch.autograd.grad(again, (q, k, v), grad)
