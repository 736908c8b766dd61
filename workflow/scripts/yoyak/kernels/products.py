"""LoRA projections as one matrix product.

A projection with an adapter is y = x·Wᵀ + u·Bᵀ with u = dropout(x)·Aᵀ. Here u stands in extra
columns beside x, and B in extra columns beside W: the sum costs no pass over y, and the backward
product gives the gradients of x and u at once. Projections that read the same input (q, k, v;
gate, up) are one product, too. Every adapter has a dropout mask of its own, hashed from a seed and
never stored.
"""

from typing import Any

import torch

COLUMNS = 64  # extra columns come in whole blocks, so that rows stay 128-byte aligned


class FusedProduct:
    """Projections of one input as a single product [x | u] · [W | B]ᵀ.

    width: columns of x; rank: ranks of all adapters together; columns: width and room for u.
    Weights that are not 4-bit are moved into the wide buffer once and the modules see views of it.
    apart: give the gradient of x contiguous rows of its own, for a reader that would copy it.
    """

    def __init__(self, projections: list, apart: bool = False):
        self.apart = apart
        self.adapted = [part if hasattr(part, "lora_A") else None for part in projections]
        self.bases = [p.get_base_layer() if hasattr(p, "lora_A") else p for p in projections]
        self.width = self.bases[0].in_features
        self.rows = [base.out_features for base in self.bases]
        self.a, self.b, self.p, self.scale = [], [], 0.0, 1.0
        for part in self.adapted:
            if part is not None:
                name = part.active_adapters[0]
                self.a.append(part.lora_A[name])
                self.b.append(part.lora_B[name])
                self.p = getattr(part.lora_dropout[name], "p", 0.0)
                self.scale = part.scaling[name]
        self.rank = sum(a.out_features for a in self.a)
        self.columns = self.width + -(-self.rank // COLUMNS) * COLUMNS
        self.four_bit = hasattr(self.bases[0].weight, "quant_state")
        self.bias = self._biases()
        if not self.four_bit:
            self.wide = self._widen()

    @property
    def dtype(self):
        base = self.bases[0]
        if self.four_bit:
            return base.compute_dtype or base.weight.quant_state.dtype
        return base.weight.dtype

    def _biases(self) -> torch.Tensor | None:
        """(rows,): the frozen biases of all projections, zero where one has none; None without."""
        if all(base.bias is None for base in self.bases):
            return None
        place = {"dtype": self.dtype, "device": self.bases[0].weight.device}
        parts = [
            torch.zeros(rows, **place) if base.bias is None else base.bias.detach().to(**place)
            for base, rows in zip(self.bases, self.rows, strict=True)
        ]
        return torch.cat(parts)

    def _widen(self) -> torch.Tensor:
        first = self.bases[0].weight
        wide = first.new_zeros((sum(self.rows), self.columns))
        start = 0
        for base, rows in zip(self.bases, self.rows, strict=True):
            view = wide[start : start + rows, : self.width]
            view.copy_(base.weight.data)
            base.weight.data = view
            start += rows
        return wide

    def weight(self, ops, fresh: bool = True) -> torch.Tensor:
        """[W | B], (rows, columns); B as the optimiser left it or, not fresh, as last used."""
        if not (fresh or self.four_bit):
            return self.wide
        if self.four_bit:
            device = self.bases[0].weight.device
            wide = torch.empty((sum(self.rows), self.columns), dtype=self.dtype, device=device)
            wide[:, self.width :].zero_()
        else:
            wide = self.wide
        row, column, adapters = 0, self.width, iter(self.b)
        for base, part, rows in zip(self.bases, self.adapted, self.rows, strict=True):
            if self.four_bit:
                ops.dequantize(base.weight, wide[row : row + rows, : self.width])
            if part is not None:
                b = next(adapters).weight.detach()
                wide[row : row + rows, column : column + b.shape[1]].copy_(b)
                column += b.shape[1]
            row += rows
        return wide

    def down(self) -> torch.Tensor | None:
        """All A in one, (rank, width) in the compute type."""
        if not self.a:
            return None
        return torch.cat([a.weight.detach() for a in self.a]).to(self.dtype)

    def buffer(self, tokens: int, device) -> torch.Tensor:
        """Room for [x | u]."""
        return torch.empty((tokens, self.columns), dtype=self.dtype, device=device)

    def forward(self, ops, x, seed, training, source=None):
        """x: [x | room for u]; with `source`, x itself is still there and is copied in passing."""
        self.fill(ops, x, seed, training, source)
        weight = self.weight(ops).T
        return x @ weight if self.bias is None else torch.addmm(self.bias, x, weight)

    def fill(self, ops, x, seed, training, source=None):
        """Compute u beside x."""
        if self.rank:
            p = self.p if training else 0.0
            inner = x[:, : self.width] if source is None else source
            copy = None if source is None else x[:, : self.width]
            room, count = x[:, self.width :], len(self.a)
            ops.lora_down(inner, self.down(), room, p, seed, self.scale, count, copy)
        elif source is not None:
            x.copy_(source)

    def backward(self, ops, grad, x, seed, training, need_x=True):
        """Returns ([gradient of x | …] or None, gradients of A and B, adapter by adapter)."""
        weight = self.weight(ops, fresh=False)
        room = slice(self.width, self.width + self.rank)
        both: Any = None
        if need_x:
            both = grad @ (weight[:, : self.width] if self.apart else weight)
        if not self.rank:
            return both, []
        p, count = self.p if training else 0.0, len(self.a)
        du = both[:, room] if need_x and not self.apart else grad @ weight[:, room]
        grad_a = ops.lora_grad_a(x[:, : self.width], du, p, seed, self.scale, count)
        grad_b = grad.T @ x[:, room]
        if need_x:
            ops.lora_grad_x_(both[:, : self.width], du, self.down(), p, seed, self.scale, count)
        return both, self._split(grad_a, grad_b)

    def _split(self, grad_a, grad_b) -> list[torch.Tensor]:
        grads, row, rank = [], 0, 0
        factors = iter(self.a)
        for part, rows in zip(self.adapted, self.rows, strict=True):
            if part is not None:
                r = next(factors).out_features
                grads.append(grad_a[rank : rank + r])
                grads.append(grad_b[row : row + rows, rank : rank + r].float())
                rank += r
            row += rows
        return grads

    def parameters(self) -> list[torch.Tensor]:
        """A and B of every adapter, in the order of `backward`'s gradients."""
        return [part.weight for pair in zip(self.a, self.b, strict=True) for part in pair]
