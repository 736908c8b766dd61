"""Generation with tiny random models: prompts, and what transformers' own `generate` gives."""

import random

import torch
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from yoyak.generation.decoding import DecodingSettings

VOCABULARY, MAX_PROMPT, MAX_NEW = 256, 96, 24
STOPS = {64, 138, 167, 202}
GREEDY = DecodingSettings(max_new_tokens=MAX_NEW)
WINDOW = {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}


def random_model(family: str, **settings):
    """Random weights, spread wide enough that greedy decoding does not fall into one loop."""
    torch.manual_seed(7)
    shape = dict(
        vocab_size=VOCABULARY,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=256,
        initializer_range=0.3,
        tie_word_embeddings=False,
        **settings,
    )
    if family == "llama":
        return LlamaForCausalLM(LlamaConfig(**shape)).eval()
    return Qwen3ForCausalLM(Qwen3Config(**shape)).eval()


def one_at_a_time(
    model, prompts: list[list[int]], max_new_tokens=MAX_NEW, stops=STOPS
) -> list[list[int]]:
    """What transformers' own `generate` gives, the stop token included."""
    config = GenerationConfig(
        max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=sorted(stops), pad_token_id=0
    )
    outputs = []
    for prompt in prompts:
        tokens = torch.tensor([prompt])
        with torch.no_grad():
            output = model.generate(
                input_ids=tokens,
                attention_mask=torch.ones_like(tokens),
                generation_config=config,
            )
        outputs.append(output[0, len(prompt) :].tolist())
    return outputs


def check(results, expected, max_new_tokens=MAX_NEW, stops=STOPS):
    for result, tokens in zip(results, expected, strict=True):
        stopped = tokens[-1] in stops
        assert result.tokens == (tokens[:-1] if stopped else tokens)
        assert result.finish == ("stop" if stopped else "length")
        assert result.new_tokens == len(tokens)
        assert stopped or len(tokens) == max_new_tokens


def random_prompts() -> list[list[int]]:
    """Fourteen of all lengths, the shortest and the longest among them."""
    draw = random.Random(3)
    lengths = [1, 2, MAX_PROMPT, *(draw.randint(1, MAX_PROMPT) for _ in range(11))]
    return [[draw.randrange(VOCABULARY) for _ in range(length)] for length in lengths]
