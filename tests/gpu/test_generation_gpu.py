"""The generation engine on a GPU against `generate` on the CPU, token for token (fp32)."""

from dataclasses import replace

import pytest
from generations import (
    GREEDY,
    MAX_PROMPT,
    STOPS,
    WINDOW,
    check,
    one_at_a_time,
    random_model,
    random_prompts,
)

from yoyak.generation.engines import Generator, choose_generator, plan_generation


@pytest.mark.parametrize("slots", [1, 5, 14])
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_slots_equal_one_at_a_time(family, slots):
    """Captured graphs, the decode kernel and reading one step late, in fp32."""
    model, prompts = random_model(family), random_prompts()
    expected = one_at_a_time(model, prompts)
    plan = plan_generation(model.cuda(), [MAX_PROMPT], GREEDY, batch=slots)
    generator = Generator(model, STOPS, GREEDY, replace(plan, slots=slots))
    check(generator.run(prompts), expected)
    check(generator.run(prompts[::-1]), expected[::-1])
    assert generator.graphs


def test_windows_equal_one_at_a_time():
    prompts = random_prompts()
    sliding = random_model("qwen3", **WINDOW).cuda()
    expected = one_at_a_time(random_model("qwen3", **WINDOW), prompts)
    generator, _ = choose_generator(sliding, prompts, STOPS, GREEDY, engine="packed")
    check(generator.run(prompts), expected)
