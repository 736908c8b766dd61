"""The engine that generates is right on the model at hand, or another takes its place.

Tiny random checkpoints of several kinds, float32. Right: the text of transformers' own eager
forward, one row at a time, unless its two best logits are all but equal.
"""

import random
from dataclasses import replace

import pytest
import torch
from test_generation import one_thread  # noqa: F401
from transformers import AutoConfig, AutoModelForCausalLM

from yoyak.errors import UserError
from yoyak.generation import cache, check
from yoyak.generation import forward as fused_forward
from yoyak.generation.decoding import DecodingSettings
from yoyak.generation.engines import (
    GenerationPlan,
    OutOfMemory,
    choose_generator,
    generate,
    make_generator,
    run_halving,
)
from yoyak.generation.plain_engine import PlainGenerator
from yoyak.generation.slot_engine import Generator

VOCABULARY, MAX_NEW, STOPS, TIE = 120, 8, {3, 4}, 1e-4
SIZES = {
    **{"vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "head_dim": 16},
    **{"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
    **{"max_position_embeddings": 256, "pad_token_id": 0},
}
WINDOWS = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
GEMMA = {**WINDOWS, "query_pre_attn_scalar": 16}
NEOX = {"num_key_value_heads": 4}  # as many as the others: it has no such setting
LONG_ROPE = {
    **{"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 40},
    **{"short_factor": [1.0] * 8, "long_factor": [4.0] * 8},
}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
# name → (model type, its settings, the engine that must run)
KINDS = {
    "window in every layer": ("mistral", {"sliding_window": 16}, "slots"),
    "window in some layers": ("gemma3_text", GEMMA, "slots"),
    "scaled logits": ("granite", {"logits_scaling": 8.0, "residual_multiplier": 0.5}, "slots"),
    "experts": (
        "qwen3_moe",
        {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
        "slots",
    ),
    "softcap": ("gemma2", GEMMA, "plain"),
    "another body": ("gpt_neox", NEOX, "slots"),
    "no attention interface": ("bloom", {"n_layer": 2, "n_head": 4}, "plain"),
    "convolutions": ("lfm2", {"layer_types": ["conv", "full_attention"]}, "plain"),
    "no attention": ("mamba", {"state_size": 8}, "plain"),
    "positions by the row's length": (
        "phi3",
        {"original_max_position_embeddings": 40, "rope_parameters": LONG_ROPE},
        "plain",
    ),
    "positions by the longest row": (
        "llama",
        {"max_position_embeddings": 40, "rope_parameters": DYNAMIC},
        "plain",
    ),
}
GREEDY = DecodingSettings(max_new_tokens=MAX_NEW)
draw = random.Random(5)
PROMPTS = [[draw.randrange(5, VOCABULARY) for _ in range(n)] for n in (33, 3, 52, 9, 21, 47)]


def make(model_type: str, settings: dict):
    torch.manual_seed(2)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **SIZES | settings))
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() == 2:
                weights.mul_(6)
            else:
                weights.add_(0.3 * torch.randn_like(weights))
    return model.float().eval()


@torch.no_grad()
def eager_text(model, prompt: list[int]) -> tuple[list[int], bool]:
    """(greedy tokens by whole forward passes, whether a choice was close)."""
    row, close = list(prompt), False
    for _ in range(MAX_NEW):
        model(torch.tensor([[1]]))  # dynamic RoPE forgets the rows before
        logits = model(torch.tensor([row]), use_cache=False).logits[0, -1]
        best = logits.topk(2)
        close |= bool(best.values[0] - best.values[1] < TIE)
        row.append(best.indices[0].item())
        if row[-1] in STOPS:
            break
    return row[len(prompt) :], close


@pytest.mark.parametrize("kind", KINDS)
def test_text_is_that_of_the_models_own_forward(kind):
    model_type, settings, engine = KINDS[kind]
    model = make(model_type, settings)
    own = model.config._attn_implementation
    generator, record = choose_generator(model, PROMPTS, STOPS, GREEDY)
    assert (record["engine"], generator.plan.engine) == (engine, engine), record
    assert record["logits_difference"] <= 1e-5 and record["rows"] == 4
    assert ("slots: " in record["why"]) == (engine == "plain"), record["why"]
    results = generator.run(PROMPTS)
    assert model.config._attn_implementation == own
    model.set_attn_implementation("eager")
    for prompt, result in zip(PROMPTS, results, strict=True):
        expected, close = eager_text(model, prompt)
        stopped = expected[-1] in STOPS
        assert result.tokens == (expected[:-1] if stopped else expected) or close
    rows_alone = kind.startswith("positions")
    assert (generator.plan.slots == 1) == rows_alone
    assert generator.plan.cache == (kind != "positions by the longest row")


def without_window(monkeypatch):
    own = cache.attend
    for place in (cache, fused_forward):
        monkeypatch.setattr(place, "attend", lambda *parts: own(*parts[:-1]))


def without_model_head(monkeypatch):
    """Hidden states times lm_head, as an own head would: no scale, no final softcap."""

    def forward(self, tokens, batch, keep=None):
        hidden = self.model.model(
            tokens[None], position_ids=batch.positions[None], use_cache=False, slots=batch
        )[0][0]
        return self.model.lm_head(hidden if keep is None else hidden[keep])

    monkeypatch.setattr(fused_forward.PlainForward, "__call__", forward)


def without_softcap(monkeypatch):
    monkeypatch.setattr(cache, "refuse_others", lambda others: None)


def with_leak(monkeypatch):
    def whole_pack(query, key, value, scaling, boundaries, window=None):
        return own(query, key, value, scaling, (0, boundaries[-1]), window)

    own = cache.per_sequence
    monkeypatch.setattr(cache, "per_sequence", whole_pack)


@pytest.mark.parametrize(
    "mutate, kind",
    [
        (without_window, "window in every layer"),
        (without_window, "window in some layers"),
        (without_model_head, "scaled logits"),
        (without_softcap, "softcap"),
        (with_leak, "scaled logits"),
    ],
)
def test_faults_are_seen_and_the_plain_engine_takes_over(mutate, kind, monkeypatch):
    mutate(monkeypatch)
    model = make(*KINDS[kind][:2])
    _, record = choose_generator(model, PROMPTS, STOPS, GREEDY)
    assert record["engine"] == "plain" and "slots: logits differ by" in record["why"]
    assert record["logits_difference"] < 1e-5
    with pytest.raises(UserError, match=r"execution.engine: packed: logits .*engine: auto$"):
        choose_generator(model, PROMPTS, STOPS, GREEDY, engine="packed")


def test_a_leak_far_below_the_tolerance_is_seen(monkeypatch):
    def leaking(self, rows, steps):
        return own(self, rows, steps) + 1e-7 * rows[0][0]

    own = Generator.logits
    monkeypatch.setattr(Generator, "logits", leaking)
    _, record = choose_generator(make("llama", {}), PROMPTS, STOPS, GREEDY)
    assert record["engine"] == "plain" and "with its neighbours' tokens" in record["why"]


def test_nothing_is_generated_where_no_engine_is_right(monkeypatch):
    monkeypatch.setattr(PlainGenerator, "logits", lambda self, rows, steps: 1 / 0)
    with pytest.raises(UserError, match="model type 'gemma2' cannot generate .*ZeroDivision"):
        choose_generator(make(*KINDS["softcap"][:2]), PROMPTS, STOPS, GREEDY)
    broken = make("llama", {})
    broken.lm_head.weight.data[7] = torch.nan
    with pytest.raises(UserError, match="no finite logits .*download them again"):
        choose_generator(broken, PROMPTS, STOPS, GREEDY)
    short = make("gpt2", {"n_positions": 50, "max_position_embeddings": 50})
    with pytest.raises(UserError, match="knows 50 positions.* takes 59: make tokenizer.encoder"):
        choose_generator(short, PROMPTS, STOPS, GREEDY)


def test_a_reference_that_was_wrong_once_is_made_again(monkeypatch, capsys):
    original, calls = check.reference_logits, []

    def wrong_once(*args):
        calls.append(args)
        return original(*args) + (torch.randn(1, VOCABULARY) if len(calls) == 1 else 0)

    monkeypatch.setattr(check, "reference_logits", wrong_once)
    _, record = choose_generator(make("llama", {}), PROMPTS, STOPS, GREEDY)
    assert record["engine"] == "slots"
    assert "another result the second time" in capsys.readouterr().err


def test_the_check_leaves_no_trace():
    model = make("qwen3", {"attention_dropout": 0.5}).train()
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    random_state = torch.get_rng_state()
    choose_generator(model, PROMPTS, STOPS, GREEDY, engine="plain")
    choose_generator(model, PROMPTS, STOPS, GREEDY)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(part.training for part in model.modules())
    assert model.config._attn_implementation == "sdpa"
    after = model.state_dict()
    assert all(torch.equal(weight, after[name]) for name, weight in weights.items())


def test_engines_that_are_asked_for(capsys):
    model = make("llama", {})
    beams = DecodingSettings(max_new_tokens=MAX_NEW, num_beams=2)
    _, record = choose_generator(model, PROMPTS, STOPS, beams)
    assert (record["engine"], record["why"]) == ("plain", "generation.num_beams")
    with pytest.raises(UserError, match="packed takes no generation.num_beams; set"):
        choose_generator(model, PROMPTS, STOPS, beams, engine="packed")
    generator, record = choose_generator(model, PROMPTS, STOPS, GREEDY, engine="plain")
    assert (record["engine"], record["why"]) == ("plain", "execution.engine: plain")
    fast, record = choose_generator(model, PROMPTS, STOPS, GREEDY, engine="packed")
    assert record["engine"] == "slots" and generator.run(PROMPTS) == fast.run(PROMPTS)


def test_what_no_row_can_show_is_said():
    wide = make("mistral", {"sliding_window": 59})
    _, record = choose_generator(wide, PROMPTS, STOPS, GREEDY)
    assert record["not_shown"] == [
        "sliding_window 59: no row is longer (59 tokens at most), it cannot matter"
    ]
    reached = make("mistral", {"sliding_window": 58})  # by the longest prompt's summary alone
    assert choose_generator(reached, PROMPTS, STOPS, GREEDY)[1]["not_shown"] == []


def test_rows_too_long_for_the_memory_are_compared_in_part(monkeypatch):
    def small_memory(model, tokens, places):
        if len(tokens) > 40:
            raise MemoryError
        return own(model, tokens, places)

    own = check.reference_logits
    monkeypatch.setattr(check, "reference_logits", small_memory)
    _, record = choose_generator(make("llama", {}), PROMPTS, STOPS, GREEDY)
    assert record["engine"] == "slots"
    assert record["not_shown"] == ["rows of up to 59 tokens: compared up to 29"]


def test_sampling_draws_alike_in_both_engines():
    model = make("llama", {})
    sampling = DecodingSettings(max_new_tokens=MAX_NEW, do_sample=True, temperature=1.5, top_p=0.9)
    plain, _ = choose_generator(model, PROMPTS, STOPS, sampling, engine="plain")
    slots, _ = choose_generator(model, PROMPTS, STOPS, sampling)
    assert plain.run(PROMPTS) == slots.run(PROMPTS)
    assert plain.run(PROMPTS[::-1])[::-1] == slots.run(PROMPTS)


def test_plan_and_choice_are_printed(capsys):
    generate(make(*KINDS["softcap"][:2]), PROMPTS, stop_token_ids=STOPS, decoding=GREEDY)
    log = capsys.readouterr().err
    assert "transformers' generate, 6 rows at once" in log
    assert "check: plain (slots: ValueError: attention with softcap=50.0" in log


def test_out_of_memory_halves_the_rows(capsys):
    model, seen = make("llama", {}), []
    plan = GenerationPlan(slots=4, capacity=96, prefill_tokens=128)
    expected = generate(model, PROMPTS, stop_token_ids=STOPS, decoding=GREEDY, plan=plan)

    def breaking_off(rows):
        generator = make_generator(model, STOPS, GREEDY, replace(plan, slots=rows))
        whole = generator.run

        def run(prompts, on_row):
            whole(prompts[:3], on_row)
            raise OutOfMemory("no")

        generator.run = run
        return generator

    found, last = run_halving(breaking_off(4), PROMPTS, lambda index, _: seen.append(index))
    assert found == expected
    assert last.slots == 2 and "continuing with 2 rows at once" in capsys.readouterr().err
    assert sorted(seen) == list(range(len(PROMPTS)))  # none twice: a bar counts them
    with pytest.raises(OutOfMemory):
        run_halving(breaking_off(1), PROMPTS)
