"""Layers compiled by torch, code generator included, on a GPU."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import SIZES, adapters, examples
from torch._dynamo.utils import counters
from transformers import AutoModelForCausalLM, Gemma3TextConfig

from yoyak.data.packing import build_pack
from yoyak.kernels.compiled_layers import compile_decoder_layers
from yoyak.models.attention import PACKED
from yoyak.training.loss import batch_loss


@pytest.mark.parametrize("recompute", (False, True))
def test_one_form_serves_packs_of_every_length(recompute):
    """bf16 under autocast against float32 on the CPU; no break, nothing compiled anew."""
    torch.manual_seed(0)
    sizes = SIZES | {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64}
    config = Gemma3TextConfig(**sizes, sliding_window=48)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=PACKED)
    model = get_peft_model(model, LoraConfig(r=8, target_modules="all-linear")).train()
    with torch.no_grad():
        for part in adapters(model).values():
            part.copy_(torch.randn_like(part) * 0.1)
    packs = [build_pack(examples(some), [0, 1, 2]) for some in ((300, 70, 129), (64, 9, 200))]
    packs.append(build_pack(examples((90, 40, 33, 21, 55)), list(range(5))))
    slow = [gradients(model, pack) for pack in packs]
    model = model.to("cuda", torch.bfloat16)
    for part in adapters(model).values():
        part.data = part.data.float()
    counters.clear()
    compile_decoder_layers(model.get_base_model(), recompute)
    with torch.autocast("cuda", torch.bfloat16):
        fast = [gradients(model, pack.to("cuda")) for pack in packs[:1]]
        forms = counters["stats"]["unique_graphs"]
        fast += [gradients(model, pack.to("cuda")) for pack in packs[1:]]
    assert counters["stats"]["unique_graphs"] == forms and not counters["graph_break"]
    for (loss, found), (expected_loss, expected) in zip(fast, slow, strict=True):
        assert loss == pytest.approx(expected_loss, rel=2e-2)
        for name, grad in expected.items():
            assert (found[name] - grad).norm() < 0.15 * grad.norm(), name


def gradients(model, pack):
    loss = batch_loss(model, pack) / len(pack.targets)
    loss.backward()
    found = {name: part.grad.cpu().float() for name, part in adapters(model).items()}
    model.zero_grad()
    return loss.item(), found
