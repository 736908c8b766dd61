"""The head's loss: chunked, on supervised positions only, whatever the head is made of."""

import copy

import pytest
import torch
from tiny_models import CONFIGS, SIZES, examples
from transformers import AutoModelForCausalLM

from yoyak.data.packing import build_pack
from yoyak.models.attention import PACKED
from yoyak.training import loss as module
from yoyak.training.loss import batch_loss, hidden_states


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(
        CONFIGS["llama"](**SIZES), attn_implementation=PACKED, dtype=torch.float32
    )


@pytest.fixture
def pack():
    return build_pack(examples(), list(range(6)))


def plain(model, pack):
    """Logits everywhere, then the mean's numerator: what the chunks must add up to."""
    logits = model.lm_head(hidden_states(model, pack))[0, pack.supervised]
    return torch.nn.functional.cross_entropy(logits.double(), pack.targets, reduction="sum")


@pytest.mark.parametrize("chunk", (1, 7, 4096))
@pytest.mark.parametrize("frozen", (True, False))
def test_chunks_add_up(model, pack, chunk, frozen, monkeypatch):
    monkeypatch.setattr(module, "HEAD_CHUNK", chunk)
    model = copy.deepcopy(model)
    model.lm_head.weight.requires_grad_(not frozen)
    model.model.layers[0].mlp.up_proj.weight.requires_grad_(True)
    grads = []
    for function in (plain, batch_loss):
        total = function(model, pack)
        (total * 0.37).backward()
        grads.append(model.model.layers[0].mlp.up_proj.weight.grad.clone())
        model.zero_grad()
    assert batch_loss(model, pack).item() == pytest.approx(plain(model, pack).item(), rel=1e-6)
    assert torch.allclose(*grads, rtol=1e-4, atol=1e-7)


def test_no_logits_outside_supervised_positions(model, pack, monkeypatch):
    seen = []
    head = torch.nn.Linear(64, SIZES["vocab_size"])  # a bias: the general path
    monkeypatch.setattr(model, "get_output_embeddings", lambda: head)
    head.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    batch_loss(model, pack)
    assert sum(seen) == len(pack.supervised) < pack.tokens


def test_evaluation_keeps_nothing(model, pack):
    with torch.no_grad():
        assert batch_loss(model, pack).grad_fn is None
