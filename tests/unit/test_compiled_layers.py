"""Compiled decoder layers: the own layers' numbers, one compiled form for packs of every length.

torch.compile runs here without its code generator, which needs a C++ compiler on a CPU: what is
traced, guarded and differentiated is the same. tests/gpu has the whole of it.
"""

import logging
from dataclasses import replace
from functools import partial

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from tiny_models import SIZES, examples
from torch._dynamo.utils import counters
from transformers import AutoModelForCausalLM

from yoyak.data.packing import build_pack
from yoyak.run.plan import Plan
from yoyak.training.engine import apply_plan, choose_engine
from yoyak.training.loss import batch_loss

PLAN = Plan(
    device="cpu", threads=1, compute_dtype="float32", base_weights="dequantized",
    token_budget=2048, gradient_checkpointing=False, layers="compiled", optim="adamw_torch",
    predicted_bytes=0, available_bytes=0,
)  # fmt: skip
ROWS = examples((45, 70, 20, 61))
KINDS = {
    "biases": ("Qwen2Config", {}),
    "windows": ("Gemma3TextConfig", {"sliding_window": 16}),
    "scaled": ("GraniteConfig", {"logits_scaling": 8.0}),
}


@pytest.fixture(autouse=True)
def no_code_generator(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    monkeypatch.setattr(logging.getLogger("torch.__trace"), "disabled", True)  # pages of text
    counters.clear()
    yield
    torch._dynamo.reset()


def build(kind: str):
    name, extra = KINDS[kind]
    torch.manual_seed(0)
    config = getattr(transformers, name)(**{**SIZES, "num_hidden_layers": 2}, **extra)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))


def losses_and_gradients(model, packs) -> list[torch.Tensor]:
    found = []
    for pack in packs:
        model.zero_grad()
        loss = batch_loss(model, pack)
        loss.backward()
        found += [loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]
    return [part.clone() for part in found]


def test_one_form_serves_packs_of_every_length():
    model = build("windows")
    for name, part in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(part, std=0.1)
    lengths = ((30, 41), (12, 50, 23), (64,), (9, 8, 7, 33, 52))
    packs = [build_pack(examples(some), list(range(len(some)))) for some in lengths]
    apply_plan(model, replace(PLAN, layers="own"))
    expected = losses_and_gradients(model, packs)
    apply_plan(model, replace(PLAN, gradient_checkpointing=True))
    found = losses_and_gradients(model, packs[:1])
    forms = counters["stats"]["unique_graphs"]
    assert 0 < forms <= 3, "layers of one kind share a form"
    found += losses_and_gradients(model, packs[1:])
    assert counters["stats"]["unique_graphs"] == forms and not counters["graph_break"]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def plan_of(engine) -> Plan:
    layers = "compiled" if engine.path == "packed" and engine.layers != "own" else "own"
    return replace(PLAN, engine=engine.path, head=engine.head, layers=layers)


def test_the_check_takes_compiled_layers_where_they_are_right():
    plan, checks = choose_engine(build("scaled"), ROWS, "auto", plan_of)
    assert plan.runs() == "packed: the model's own layers, compiled, its own head"
    assert "the loss differs" in checks[0].problem, "logits are scaled after the linear head"
    assert checks[-1].loss_difference < 1e-5 and checks[-1].leak == 0.0


def test_layers_that_do_not_compile_run_as_they_are(monkeypatch):
    mlp = transformers.models.qwen2.modeling_qwen2.Qwen2MLP
    forward = mlp.forward

    def looks_at_a_number(self, x):
        return forward(self, x) if x.sum().item() != 0.125 else x

    monkeypatch.setattr(mlp, "forward", looks_at_a_number)
    plan, checks = choose_engine(build("biases"), ROWS, "auto", plan_of)
    assert plan.runs() == "packed: the model's own layers"
    assert all("data-dependent" in tried.problem for tried in checks[:-1])
