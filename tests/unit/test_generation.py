"""The generation engine against `model.generate`, one prompt at a time, token for token (fp32)."""

import random
from dataclasses import replace

import pytest
import torch
from generations import (
    GREEDY,
    MAX_NEW,
    MAX_PROMPT,
    STOPS,
    VOCABULARY,
    WINDOW,
    check,
    one_at_a_time,
    random_model,
    random_prompts,
)
from transformers import GenerationConfig

from yoyak.config.model_config import ModelConfig
from yoyak.errors import UserError
from yoyak.generation.cache import SlotBatch, SlotCache, attend
from yoyak.generation.decoding import choose_tokens
from yoyak.generation.engines import (
    DecodingSettings,
    GenerationPlan,
    Generator,
    generate,
    plan_generation,
)
from yoyak.generation.forward import FusedForward, PlainForward


@pytest.fixture(scope="module", params=["llama", "qwen3", "qwen2", "mistral"])
def model(request):
    return random_model(request.param)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Matrices this small only lose by sharing."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def prompts():
    return random_prompts()


@pytest.fixture(scope="module")
def expected(model, prompts):
    outputs = one_at_a_time(model, prompts)
    lengths = [len(tokens) for tokens in outputs]
    assert min(lengths) < 4 and max(lengths) == MAX_NEW, "the test needs early and late ends"
    return outputs


@pytest.mark.parametrize("slots", [1, 3, 7, 14])
def test_any_batch_size_equals_one_at_a_time(model, prompts, expected, slots):
    plan = GenerationPlan(slots=slots, capacity=MAX_PROMPT + MAX_NEW, prefill_tokens=128)
    check(generate(model, prompts, stop_token_ids=STOPS, decoding=GREEDY, plan=plan), expected)


@pytest.mark.parametrize("refill", [1, 4])
@pytest.mark.parametrize("lag", [0, 3])
def test_slot_refill_and_late_reading_change_nothing(model, prompts, expected, refill, lag):
    plan = GenerationPlan(
        slots=5, capacity=MAX_PROMPT + MAX_NEW, prefill_tokens=10_000, refill=refill
    )
    generator = Generator(model, STOPS, GREEDY, plan)
    generator.lag = lag  # on a GPU the host reads tokens this many steps late
    check(generator.run(prompts), expected)
    check(generator.run(prompts[::-1]), expected[::-1])  # the cache is used again


def test_models_own_forward_serves_other_architectures(model, prompts, expected):
    plan = GenerationPlan(slots=5, capacity=MAX_PROMPT + MAX_NEW, prefill_tokens=128)
    generator = Generator(model, STOPS, GREEDY, plan)
    assert isinstance(generator.forward, FusedForward)
    generator.forward = PlainForward(generator.model)
    check(generator.run(prompts), expected)


def test_any_order_and_rows_are_reported_once(model, prompts, expected):
    order = list(range(len(prompts)))
    random.Random(1).shuffle(order)
    seen = {}
    results = generate(
        model,
        [prompts[index] for index in order],
        stop_token_ids=STOPS,
        decoding=GREEDY,
        on_row=lambda index, result: seen.setdefault(index, result),
    )
    check(results, [expected[index] for index in order])
    assert [seen[index] for index in range(len(order))] == results


def test_stop_at_once_never_and_one_token(model, prompts):
    first = [tokens[0] for tokens in one_at_a_time(model, prompts, 1, stops={0})]
    at_once = generate(model, prompts, stop_token_ids=set(first), decoding=GREEDY)
    assert all(result.tokens == [] and result.finish == "stop" for result in at_once)
    single = DecodingSettings(max_new_tokens=1)
    one = generate(model, prompts, stop_token_ids={VOCABULARY + 1}, decoding=single)
    assert [result.tokens for result in one] == [[token] for token in first]
    assert all(result.finish == "length" for result in one)


@pytest.mark.parametrize("merged", [False, True])
def test_adapter_merged_or_not(model, prompts, merged):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    base = type(model)(model.config)
    base.load_state_dict(model.state_dict())
    targets = ["q_proj", "v_proj", "down_proj"]
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules=targets, init_lora_weights=False))
    adapted.eval()
    expected = one_at_a_time(adapted, prompts)
    assert expected != one_at_a_time(model, prompts)
    subject = adapted.merge_and_unload() if merged else adapted
    check(generate(subject, prompts, stop_token_ids=STOPS, decoding=GREEDY), expected)


def test_checkpoint_defaults_never_leak(model, prompts, expected):
    saved = model.generation_config
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=9.0, repetition_penalty=5.0, eos_token_id=1, max_new_tokens=2
    )
    try:
        check(generate(model, prompts, stop_token_ids=STOPS, decoding=GREEDY), expected)
        beams = DecodingSettings(max_new_tokens=8, num_beams=3)
        with_defaults = generate(model, prompts[:4], stop_token_ids=STOPS, decoding=beams)
        assert model.generation_config.repetition_penalty == 5.0
    finally:
        model.generation_config = saved
    assert with_defaults == generate(model, prompts[:4], stop_token_ids=STOPS, decoding=beams)


@pytest.mark.parametrize("length_penalty", [1.0, -3])
def test_beam_search_equals_generate(model, prompts, length_penalty):
    beams = DecodingSettings(max_new_tokens=8, num_beams=3, length_penalty=length_penalty)
    config = GenerationConfig(
        max_new_tokens=8, num_beams=3, do_sample=False, eos_token_id=sorted(STOPS), pad_token_id=0,
        length_penalty=float(length_penalty),
    )  # fmt: skip
    results = generate(model, prompts, stop_token_ids=STOPS, decoding=beams)
    for prompt, result in zip(prompts, results, strict=True):
        tokens = torch.tensor([prompt])
        output = model.generate(
            input_ids=tokens, attention_mask=torch.ones_like(tokens), generation_config=config
        )[0, len(prompt) :].tolist()
        end = next((i for i, token in enumerate(output) if token in STOPS), len(output))
        assert result.tokens == output[:end]


@pytest.mark.parametrize(
    "penalty",
    [{"repetition_penalty": 1.7}, {"no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 1}],
)
def test_penalties_count_the_summary_alone(model, prompts, expected, penalty):
    """As one row at a time by the formula, whatever prompt, padding and neighbours hold."""
    size, factor = penalty.get("no_repeat_ngram_size", 0), penalty.get("repetition_penalty", 1)
    decoding = DecodingSettings(max_new_tokens=MAX_NEW, **penalty)
    results = generate(model, prompts, stop_token_ids=STOPS, decoding=decoding)
    assert [result.tokens for result in results] != expected
    for prompt, result in zip(prompts, results, strict=True):
        said: list[int] = []
        while len(said) < MAX_NEW and not STOPS & set(said):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([prompt + said])).logits[0, -1]
            for token in set(said):
                logits[token] *= factor if logits[token] < 0 else 1 / factor
            for start in range(len(said) - size + 1 if size else 0):
                *before, after = said[start : start + size]
                if before == said[len(said) - size + 1 :]:
                    logits[after] = -torch.inf
            said.append(int(logits.argmax()))
        assert result.tokens == [token for token in said if token not in STOPS]


def test_beams_with_penalties_do_not_see_their_neighbours(model, prompts):
    decoding = DecodingSettings(8, num_beams=2, repetition_penalty=1.5, no_repeat_ngram_size=2)
    settings = {"stop_token_ids": STOPS, "decoding": decoding}
    together = generate(model, prompts[:6], **settings)
    assert together == [generate(model, [prompt], **settings)[0] for prompt in prompts[:6]]


def test_the_record_names_what_takes_effect():
    settings = DecodingSettings(8, length_penalty=2.0, repetition_penalty=1.2)
    assert settings.as_dict() == {
        "max_new_tokens": 8, "num_beams": 1, "repetition_penalty": 1.2, "do_sample": False
    }  # fmt: skip
    assert replace(settings, num_beams=4, repetition_penalty=1.0).as_dict() == {
        "max_new_tokens": 8, "num_beams": 4, "length_penalty": 2.0, "do_sample": False
    }  # fmt: skip


def test_attention_is_put_back(model, prompts):
    before = model.config._attn_implementation
    generate(model, prompts[:2], stop_token_ids=STOPS, decoding=GREEDY)
    assert model.config._attn_implementation == before


def test_sampling_depends_on_seed_and_prompt_only(model, prompts):
    sampling = DecodingSettings(max_new_tokens=MAX_NEW, do_sample=True, temperature=1.5, top_p=0.9)
    results = generate(model, prompts, stop_token_ids=STOPS, decoding=sampling)
    plan = GenerationPlan(slots=3, capacity=MAX_PROMPT + MAX_NEW, prefill_tokens=100)
    again = generate(model, prompts[::-1], stop_token_ids=STOPS, decoding=sampling, plan=plan)
    assert again[::-1] == results
    other = DecodingSettings(
        max_new_tokens=MAX_NEW, do_sample=True, temperature=1.5, top_p=0.9, seed=1
    )
    assert generate(model, prompts, stop_token_ids=STOPS, decoding=other) != results


def test_sampling_follows_the_distribution():
    logits = torch.tensor([2.0, 1.0, 0.0, -3.0]).log_softmax(0).repeat(20_000, 1)
    uniforms = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    whole = DecodingSettings(max_new_tokens=1, do_sample=True)
    counts = choose_tokens(logits, whole, uniforms).bincount(minlength=4) / 20_000
    assert torch.allclose(counts, logits[0].exp(), atol=0.01)
    nucleus = DecodingSettings(max_new_tokens=1, do_sample=True, top_p=0.7)
    counts = choose_tokens(logits, nucleus, uniforms).bincount(minlength=4) / 20_000
    kept = logits[0].exp()[:2]
    assert torch.allclose(counts, torch.cat([kept / kept.sum(), torch.zeros(2)]), atol=0.015)


def test_settings_from_config():
    config = ModelConfig(model={"checkpoint": "a/b"}, generation={"temperature": 0.7, "top_p": 0.9})
    settings = DecodingSettings.from_config(config)
    assert settings.max_new_tokens == 200 and settings.temperature == 0.7
    assert settings.as_dict() == {"max_new_tokens": 200, "num_beams": 1, "do_sample": False}


def test_errors_in_words(model):
    plan = plan_generation(model, [4], GREEDY)
    with pytest.raises(UserError, match="prompt 1 is empty"):
        generate(model, [[1], []], stop_token_ids=STOPS, decoding=GREEDY, plan=plan)
    with pytest.raises(UserError, match="prompt 0 has 40 tokens"):
        generate(model, [[1] * 40], stop_token_ids=STOPS, decoding=GREEDY, plan=plan)


def test_windows_of_some_layers_equal_generate(prompts):
    """A window that prompts and summaries outgrow, in the fused layers and in the model's own."""
    sliding = random_model("qwen3", **WINDOW)
    expected = one_at_a_time(sliding, prompts)
    assert expected != one_at_a_time(random_model("qwen3"), prompts)
    plan = GenerationPlan(slots=5, capacity=MAX_PROMPT + MAX_NEW, prefill_tokens=128)
    generator = Generator(sliding, STOPS, GREEDY, plan)
    assert isinstance(generator.forward, FusedForward)
    check(generator.run(prompts), expected)
    generator.forward = PlainForward(generator.model)
    check(generator.run(prompts), expected)


def test_keys_of_another_shape_are_refused(model, prompts):
    """Writing them into the slots would broadcast, and say nothing."""
    batch = SlotBatch(
        cache=SlotCache(model.config, 2, 8, torch.float32, torch.device("cpu")),
        slots=torch.arange(2),
        positions=torch.zeros(2, dtype=torch.int64),
    )
    query, key = torch.randn(2, 6, 16), torch.randn(2, 1, 16)
    with pytest.raises(ValueError, match=r"layer 0 has keys \(2, 1, 16\)"):
        attend(batch, 0, query, key, key, 1.0)


def test_plan_follows_the_rows_and_the_request(model):
    assert plan_generation(model, [10] * 5, GREEDY).slots == 5
    assert plan_generation(model, [10] * 500, GREEDY, batch=7).slots == 7
    plan = plan_generation(model, [10] * 500, GREEDY)
    assert plan.capacity == 10 + MAX_NEW and not plan.graphs
    assert [plan.bucket(n) for n in (1, 3, 17, 500)] == [1, 4, 32, plan.slots]
