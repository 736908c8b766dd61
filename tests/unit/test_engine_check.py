"""The engine's check against transformers' own forward sees what is wrong, and only that."""

import copy
from dataclasses import replace

import pytest
import torch
import transformers
from tiny_models import SIZES, examples
from transformers import AutoModelForCausalLM

from yoyak.errors import UserError
from yoyak.models import attention
from yoyak.run.plan import Plan
from yoyak.training import loss
from yoyak.training.check import check_engine, make_reference, pick_examples
from yoyak.training.engine import apply_plan, choose_engine

PLAN = Plan(
    device="cpu", threads=1, compute_dtype="float32", base_weights="dequantized",
    token_budget=2048, gradient_checkpointing=False, layers="own", optim="adamw_torch",
    predicted_bytes=0, available_bytes=0,
)  # fmt: skip
ROWS = examples((45, 70, 20, 61))
LAYERS = {**SIZES, "num_hidden_layers": 4, "max_position_embeddings": 128}
KINDS = {
    "llama": ("LlamaConfig", {}),
    "window": ("MistralConfig", {"sliding_window": 16}),
    "scaled": ("GraniteConfig", {"logits_scaling": 8.0}),
    "softcap": ("Gemma2Config", {"sliding_window": 16, "attn_logit_softcapping": 2.0}),
    "convolution": ("Lfm2Config", {"full_attn_idxs": [1, 3]}),
    "experts": ("MixtralConfig", {"num_local_experts": 4}),
    "sinks": ("GptOssConfig", {"num_local_experts": 4, "num_experts_per_tok": 2}),
}


def build(kind: str):
    """A random model whose tokens differ more than the usual start makes them."""
    name, extra = KINDS[kind]
    torch.manual_seed(0)
    config = getattr(transformers, name)(**LAYERS, **extra)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() >= 2:
                parameter.mul_(5)
    return model


def plan_of(engine) -> Plan:
    return replace(
        PLAN, engine=engine.path, head=engine.head, one_row=engine.one_row, eager=engine.eager
    )


def check(model, **changes):
    plan = replace(PLAN, **changes)
    reference = make_reference(model, ROWS, plan)
    apply_plan(model, plan)
    return check_engine(model, reference, plan)


def test_a_forward_that_fails_by_itself_is_one_line():
    model = build("llama")
    model.lm_head.weight = torch.nn.Parameter(torch.zeros(5, 7))
    with pytest.raises(UserError, match="own forward fails .*; choose another checkpoint"):
        make_reference(model, ROWS, PLAN)


@pytest.mark.parametrize(
    "kind, runs",
    [
        ("llama", "packed: the model's own layers"),
        ("window", "packed: the model's own layers"),
        ("experts", "packed: the model's own layers"),
        ("scaled", "packed: the model's own layers, its own head"),
        ("softcap", "plain: padded batches, the model's own forward with eager attention"),
        ("convolution", "plain: padded batches, the model's own forward"),
        ("sinks", "plain: padded batches, the model's own forward with eager attention"),
    ],
)
def test_the_fastest_engine_that_is_right_is_taken(kind, runs):
    plan, checks = choose_engine(build(kind), ROWS, "auto", plan_of)
    assert plan.runs() == checks[-1].engine == runs
    assert checks[-1].loss_difference < 1e-5 and checks[-1].logits_difference < 1e-5
    assert all(tried.problem for tried in checks[:-1])


def without_window(*args, sliding_window=None, **keywords):
    return attention.packed_attention(*args, **keywords)


def without_boundaries(module, query, key, value, mask, scaling=None, **keywords):
    whole = (0, query.shape[2])
    return attention.per_sequence(query, key, value, scaling, whole), None


@pytest.mark.parametrize(
    "kind, wrong, problem",
    [
        ("window", without_window, "the loss differs"),
        ("llama", without_boundaries, "the loss differs"),
    ],
)
def test_a_wrong_attention_is_seen(kind, wrong, problem, monkeypatch):
    monkeypatch.setitem(transformers.AttentionInterface._global_mapping, attention.PACKED, wrong)
    found = check(build(kind))
    assert problem in found.problem


def test_a_missing_softcap_is_seen(monkeypatch):
    monkeypatch.setitem(attention.NEUTRAL_KEYWORDS, "softcap", attention.ANY)
    model = build("softcap")
    model.config.final_logit_softcapping = None  # the attention's alone
    assert "from transformers' own forward" in check(model).problem


def test_a_leak_too_small_for_the_losses_is_seen(monkeypatch):
    """A convolution hands a trace of the row before over a boundary."""
    for name in ("LOSS_TOLERANCE", "LOGITS_TOLERANCE"):
        monkeypatch.setattr(f"yoyak.training.check.{name}", {torch.float32: 1.0})
    assert "a row changes by" in check(build("convolution")).problem


def test_an_error_inside_the_engine_is_a_finding():
    found = check(build("sinks"))
    assert "s_aux" in found.problem and found.problem.startswith("ValueError")


def test_a_window_longer_than_every_example_is_said():
    model = build("window")
    model.config.sliding_window = 500
    found = check(model)
    assert found.problem is None
    assert found.not_shown == [
        "sliding_window 500: no row is longer (70 tokens at most), it cannot matter"
    ]


def test_fifty_starts_without_a_fault_raise_no_alarm():
    model = build("llama")
    for seed in range(50):
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 2:
                    parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(seed))
        assert check(model).problem is None
        model.set_attn_implementation("sdpa")


def test_it_leaves_no_trace():
    model = build("llama").train()
    model.model.layers[1].eval()
    before, state = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    choose_engine(model, ROWS, "auto", plan_of)
    assert all(torch.equal(before[name], part) for name, part in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
    assert model.training and not model.model.layers[1].training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_engine_asked_for_that_is_wrong_ends_in_one_line():
    with pytest.raises(UserError, match=r"packed.*softcap.*set execution.engine: auto"):
        choose_engine(build("softcap"), ROWS, "packed", plan_of)


def test_a_reference_that_was_wrong_once_is_made_again(monkeypatch, caplog):
    """Seen once on a shared machine: transformers' own forward, off by 1.7e-5, then never again."""
    calls = []

    def wrong_once(*args):
        found = make_reference(*args)
        if not calls:
            found.losses[0] += 1e-3
            found.logits[0] = found.logits[0] + torch.randn_like(found.logits[0]) * 1e-3
        calls.append(found)
        return found

    monkeypatch.setattr("yoyak.training.engine.make_reference", wrong_once)
    plan, checks = choose_engine(build("llama"), ROWS, "auto", plan_of)
    assert (plan.engine, len(calls), checks[-1].problem) == ("packed", 2, None)
    assert "another result the second time" in caplog.text


def test_gradients_that_are_no_numbers_end_in_one_line(monkeypatch):
    original = loss.batch_loss
    monkeypatch.setattr(
        "yoyak.training.check.batch_loss",
        lambda *args: original(*args) * (float("inf") if torch.is_grad_enabled() else 1.0),
    )
    with pytest.raises(UserError, match="gradients of the first examples are not finite"):
        choose_engine(build("llama"), ROWS, "auto", plan_of)


def test_the_longest_and_the_shortest_of_all_sets_are_among_the_examples():
    class Rows(list):
        @property
        def lengths(self):
            return torch.tensor([len(row) for row in self])

    train, selection = Rows(["abc", "ab", "abcd", "abcde"]), Rows(["a", "abcdefg"])
    picked = pick_examples(train, selection)
    assert {"a", "abcdefg"} <= set(picked) and len(picked) == 4
    assert pick_examples(Rows(["abc"])) == ["abc"]
