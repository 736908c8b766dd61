"""Packed attention refuses what would leak, and sees no further than its own sequence."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from yoyak.models.attention import packed_attention


def draw(heads, tokens, dim=8):
    return torch.randn(1, heads, tokens, dim)


def test_it_equals_causal_attention_sequence_by_sequence():
    query, key, value = draw(4, 12), draw(2, 12), draw(2, 12)
    cu = torch.tensor([0, 5, 6, 12], dtype=torch.int32)
    out, _ = packed_attention(None, query, key, value, None, 0.3, cu, 6)
    for start, end in ((0, 5), (5, 6), (6, 12)):
        part = [tensor[:, :, start:end] for tensor in (query, key, value)]
        alone = scaled_dot_product_attention(*part, is_causal=True, scale=0.3, enable_gqa=True)
        assert torch.allclose(out[:, start:end], alone.transpose(1, 2), atol=1e-6)


def test_a_token_reads_nothing_beyond_its_sequence():
    query, key, value = (draw(2, 10).requires_grad_() for _ in range(3))
    cu = torch.tensor([0, 4, 10], dtype=torch.int32)
    out, _ = packed_attention(None, query, key, value, None, None, cu, 6, boundaries=(0, 4, 10))
    out[0, 4].sum().backward()  # first token of the second sequence
    touched = value.grad.abs().sum((0, 1, 3)).nonzero().flatten().tolist()
    assert touched == [4]


@pytest.mark.parametrize("window", (1, 3, 6, 50))
def test_a_window_equals_a_banded_mask(window):
    query, key, value = draw(4, 12), draw(2, 12), draw(2, 12)
    cu = torch.tensor([0, 5, 12], dtype=torch.int32)
    out, _ = packed_attention(None, query, key, value, None, 0.3, cu, 7, sliding_window=window)
    for start, end in ((0, 5), (5, 12)):
        part = [tensor[:, :, start:end] for tensor in (query, key, value)]
        place = torch.arange(end - start)
        distance = place[:, None] - place
        mask = (distance >= 0) & (distance < window)
        alone = scaled_dot_product_attention(*part, attn_mask=mask, scale=0.3, enable_gqa=True)
        assert torch.allclose(out[:, start:end], alone.transpose(1, 2), atol=1e-6)


@pytest.mark.parametrize(
    "asked", ({"softcap": 30.0}, {"s_aux": torch.zeros(2)}, {"dropout": 0.1}, {"is_causal": False})
)
def test_it_refuses_what_it_does_not_implement(asked):
    tensor, cu = draw(2, 3), torch.tensor([0, 3], dtype=torch.int32)
    with pytest.raises(ValueError, match=f"{next(iter(asked))}.* is not implemented"):
        packed_attention(None, tensor, tensor, tensor, None, None, cu, 3, **asked)


@pytest.mark.parametrize("rows, cu", [(1, None), (2, torch.tensor([0, 3], dtype=torch.int32))])
def test_it_refuses_to_guess_the_boundaries(rows, cu):
    tensor = torch.randn(rows, 2, 3, 8)
    with pytest.raises(ValueError, match="cu_seq_lens_q"):
        packed_attention(None, tensor, tensor, tensor, None, cu_seq_lens_q=cu)
