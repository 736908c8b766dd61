"""The generation engine on a GPU against `generate` on the CPU, token for token (fp32)."""

from dataclasses import replace

import pytest
import torch
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
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen3Config

from yoyak.generation.decoding import DecodingSettings
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


WIDE = {
    "llama": (LlamaConfig, 2048, 8192, 32),
    "qwen3": (Qwen3Config, 896, 4864, 14),
    "gemma3": (Gemma3TextConfig, 640, 2048, 4),  # its own forward, not the fused one
}


@pytest.mark.parametrize("bits", [16, 4])
@pytest.mark.parametrize("family", WIDE)
def test_bf16_text_is_the_same_however_many_rows_are_decoded_at_once(family, bits):
    """Products of other heights may add in another order; flat logits would show it at once."""
    torch.manual_seed(5)
    kind, hidden, inner, heads = WIDE[family]
    config = kind(
        hidden_size=hidden, intermediate_size=inner, num_attention_heads=heads, head_dim=64,
        num_key_value_heads=2, num_hidden_layers=3, vocab_size=32_000, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    if bits == 4:
        in_4_bits(model)
    draw = torch.Generator().manual_seed(1)
    lengths = torch.randint(40, 400, (64,), generator=draw).tolist()
    prompts = [torch.randint(9, 32_000, (n,), generator=draw).tolist() for n in lengths]
    decoding = DecodingSettings(max_new_tokens=48)
    texts = []
    for rows in (1, 7, 64):
        plan = plan_generation(model, lengths, decoding, batch=rows)
        made = Generator(model, {2}, decoding, plan).run(prompts)
        texts.append([row.tokens for row in made])
    assert texts[0] == texts[1] == texts[2]


def in_4_bits(model):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    for part in list(model.model.layers.modules()):
        for name, linear in list(part.named_children()):
            if type(linear) is torch.nn.Linear:
                size = (linear.in_features, linear.out_features)
                small = bitsandbytes.nn.LinearNF4(
                    *size, bias=linear.bias is not None, compute_dtype=torch.bfloat16
                )
                small.load_state_dict(linear.state_dict())
                setattr(part, name, small.cuda())
