"""execution.batch_invariant: products of fixed heights, whatever the batch."""

from dataclasses import replace

import pytest
import torch
from generations import (
    GREEDY,
    MAX_NEW,
    MAX_PROMPT,
    STOPS,
    check,
    one_at_a_time,
    random_model,
    random_prompts,
)
from torch.overrides import TorchFunctionMode
from transformers import GPT2Config, GPT2LMHeadModel

from yoyak.generation.engines import GenerationPlan, Generator
from yoyak.generation.forward import FusedForward, PlainForward
from yoyak.generation.invariant import DECODING, PREFILL, Blocks

PLAN = GenerationPlan(
    slots=5, capacity=MAX_PROMPT + MAX_NEW, prefill_tokens=128, batch_invariant=True
)


class Heights(TorchFunctionMode):
    """Notes how many rows products have."""

    def __init__(self):
        super().__init__()
        self.seen: set[int] = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        place = {torch.nn.functional.linear: 0, torch.mm: 0, torch.addmm: 1}.get(func)
        if place is not None:
            self.seen.add(args[place].shape[:-1].numel())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("form", [FusedForward, PlainForward])
@pytest.mark.parametrize("family", ["llama", "qwen3", "qwen2", "mistral"])
def test_products_are_of_fixed_heights(family, form):
    """On a GPU a height decides which kernel adds, and in which order; the text stays the same."""
    model, prompts = random_model(family), random_prompts()
    expected = one_at_a_time(model, prompts)
    generator = Generator(model, STOPS, GREEDY, PLAN)
    generator.forward.forward = form(generator.model)
    heights = Heights()
    with heights:
        check(generator.run(prompts), expected)
    assert heights.seen == {DECODING, PREFILL}


def test_layers_of_another_kind_have_them_too():
    """GPT-2 multiplies by addmm."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=256, n_embd=48, n_layer=2, n_head=4, n_positions=128)
    generator = Generator(GPT2LMHeadModel(config).eval(), STOPS, GREEDY, PLAN)
    heights = Heights()
    with heights:
        generator.run(random_prompts()[:3])
    assert heights.seen == {DECODING, PREFILL}


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_products_of_more_rows_than_a_block(named, biased):
    draw = torch.Generator().manual_seed(3)
    x, weight = torch.randn(2, 150, 8, generator=draw), torch.randn(5, 8, generator=draw)
    given = {"weight": weight, "bias": torch.randn(5, generator=draw) if biased else None}
    linear = torch.nn.functional.linear
    whole = linear(x, **given)
    heights = Heights()
    with heights, Blocks(128, torch.nn.Linear(8, 5)):
        found = linear(x, **given) if named else linear(x, *given.values())
    assert torch.allclose(found, whole) and heights.seen == {128}


def test_one_graph_serves_a_block_of_rows():
    plan = replace(PLAN, slots=200)
    assert [plan.bucket(n) for n in (1, 128, 129)] == [128, 128, 200]
