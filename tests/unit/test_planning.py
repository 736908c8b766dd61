"""The planner: plans that fit, choices that are kept, what pays, what follows out of memory."""

from dataclasses import replace

import pytest
import torch
from model_shapes import LLAMA_3B, LLAMA_8B, QWEN_4B, SMOLLM_135M
from tiny_models import changed

from yoyak.config.loading import load_config
from yoyak.config.model_config import ExecutionSettings
from yoyak.errors import UserError
from yoyak.run.memory import GIB
from yoyak.run.plan import Engine
from yoyak.run.planning import next_smaller, plan_training, training_plans
from yoyak.training import plans


def asked(free=139, shape=LLAMA_3B, device="cuda:0", choices=None, dtype="bf16", **facts):
    """What `plan_training` and the like take of a usual training.

    choices: keys of `training` and `execution`.
    """
    sections = {"training": {}, "execution": {}}
    for key, value in (choices or {}).items():
        sections["execution" if key in ExecutionSettings.model_fields else "training"][key] = value
    of_lora = ("use_lora", "use_qlora", "use_dora")
    lora = {key: facts.pop(key) for key in of_lora if key in facts}
    config = changed(load_config("llama_3.2_3b"), model={"dtype": dtype}, lora=lora, **sections)
    usual = {
        "supports_bf16": True,
        "longest": 1224,
        "batch_tokens": 21_000,
        "largest_batch": 27_000,
        "steps": 585,
    }
    given = {"device": device, "free_bytes": int(free * GIB)}
    return (config, shape), given | usual | facts


def plan(*arguments, **facts):
    """The plan of a usual training, as `asked` has it."""
    given, facts = asked(*arguments, **facts)
    return plan_training(*given, **facts)


def test_a_free_h200_runs_fused_without_recomputing():
    found = plan()
    assert (found.layers, found.gradient_checkpointing) == ("fused", False)
    assert found.base_weights == "dequantized" and found.token_budget == 32768
    assert found.optim == "adamw_torch_fused"
    assert "32,768 tokens" in found.table() and "GiB predicted of 139.0 GiB free" in found.table()


@pytest.mark.parametrize("free", (139, 79, 47, 23, 15, 11, 7.5))
@pytest.mark.parametrize("shape", (LLAMA_3B, LLAMA_8B, QWEN_4B))
def test_a_plan_fits_the_memory_that_is_free(free, shape):
    if shape is LLAMA_8B and free < 11:
        return  # it does not fit there
    found = plan(free, shape)
    assert found.predicted_bytes < free * GIB
    assert found.token_budget >= 1224


@pytest.mark.parametrize(
    "execution",
    [
        {"token_budget": 3000},
        {"base_weights": "nf4"},
        {"gradient_checkpointing": True},
        {"optim": "paged_adamw_32bit"},
        {"token_budget": 512, "base_weights": "nf4", "gradient_checkpointing": False},
    ],
)
def test_choices_made_by_hand_are_kept(execution):
    record = plan(choices=execution).record()
    assert {key: record[key] for key in execution} == execution
    assert plan(choices={"compile": False}).layers == "own"


def test_too_little_memory_is_an_error_in_words():
    with pytest.raises(UserError, match=r"cuda:0 has 3\.0 GiB free.*smallest plan needs"):
        plan(3)
    with pytest.raises(UserError, match=r"smallest plan needs 6\.2 GiB"):
        plan(6.2)
    assert plan(6.3).layers == "fused", "what the message says is enough"
    with pytest.raises(UserError, match="smallest plan needs"):
        plan(20, choices={"base_weights": "dequantized", "token_budget": 65536,
                            "gradient_checkpointing": False})  # fmt: skip


def test_short_trainings_do_not_wait_for_a_compiler():
    assert plan(steps=1, batch_tokens=3000).layers == "own"
    assert plan(steps=585).layers == "fused"


def test_architectures_that_are_not_covered_run_compiled():
    assert plan(shape=replace(LLAMA_3B, fusable=False)).layers == "compiled"
    assert plan(use_lora=False, use_qlora=False).layers == "compiled"
    assert plan(engine=Engine(layers="compiled")).layers == "compiled"
    assert plan(engine=Engine(layers="own")).layers == "own"
    assert plan(engine=Engine("plain")).layers == "own"
    assert plan(dtype="fp32").layers == "own"
    assert plan(supports_bf16=False).layers == "own"
    with pytest.raises(UserError, match="execution.compile: true needs"):
        plan(supports_bf16=False, choices={"compile": True})


def test_a_cpu_computes_in_float32_with_plain_layers():
    found = plan(device="cpu", free=0, choices={"threads": 3})
    assert (found.compute_dtype, found.optim, found.threads) == ("float32", "adamw_torch", 3)
    assert (found.layers, found.token_budget) == ("own", 2048)


@pytest.mark.parametrize("optim", ["paged_adamw_32bit", "paged_adamw_8bit"])
def test_a_cpu_has_no_paged_optimiser(optim):
    with pytest.raises(UserError, match=f"training.optim: found {optim}.*write auto"):
        plan(device="cpu", free=0, choices={"optim": optim})


def test_a_gpu_without_bf16_uses_fp16():
    assert plan(supports_bf16=False).compute_dtype == "float16"
    assert plan(dtype="fp16").compute_dtype == "float16"


@pytest.mark.parametrize("whole", [{"use_lora": False}, {}])
@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_weights_that_are_in_no_4_bits_are_not_called_so(whole, device):
    for choices in ({}, {"base_weights": "nf4"}):
        found = plan(device=device, use_qlora=False, choices=choices, **whole)
        assert found.base_weights == "unquantized"


FACTS = {"longest": 1224, "supervised_share": 0.6}


def test_after_out_of_memory_each_plan_is_smaller_until_none_is():
    found, peaks = plan(), []
    given, _ = asked()
    while found is not None:
        peaks.append(found.predicted_bytes)
        last = found
        found = next_smaller(found, *given, **FACTS)
    assert peaks == sorted(peaks, reverse=True) and len(peaks) > 5
    assert last.gradient_checkpointing and last.base_weights == "nf4" and last.token_budget == 512
    assert next_smaller(plan(device="cpu"), *given, **FACTS) is None


@pytest.mark.parametrize("engine", [Engine(), Engine("plain", eager=True)])
def test_a_smaller_plan_is_predicted_as_the_planner_predicts_it(engine):
    given, facts = asked(use_dora=True, engine=engine, **FACTS)
    first, *others = training_plans(*given, **facts)
    smaller = next_smaller(first, *given, **FACTS)
    assert smaller in others


# ---- CUDA graphs ----


def test_small_models_run_in_graphs_and_in_smaller_packs_rather_than_without():
    for free, budget in ((139, 32768), (24, 16384), (12, 4096)):
        found = plan(free, SMOLLM_135M)
        assert (found.graphs, found.token_budget) == (True, budget)
        assert not found.gradient_checkpointing and found.base_weights == "dequantized"
    assert not plan(shape=LLAMA_3B).graphs, "a GPU takes longer for its layers than Python"
    assert not plan(4, SMOLLM_135M).graphs, "no graph fits"


@pytest.mark.parametrize(
    "facts",
    [{"devices": 2}, {"steps": 50}, {"dtype": "fp16"}, {"choices": {"base_weights": "nf4"}}],
)
def test_what_was_not_measured_in_graphs_runs_without(facts):
    assert plan(shape=SMOLLM_135M).graphs and not plan(shape=SMOLLM_135M, **facts).graphs


def test_out_of_memory_in_graphs_goes_on_without():
    found = plan(shape=SMOLLM_135M)
    config = load_config("smollm2_135m")
    then = next_smaller(found, config, SMOLLM_135M, longest=1224, supervised_share=0.25)
    assert replace(then, graphs=True, predicted_bytes=found.predicted_bytes) == found


def test_a_plan_made_anew_for_an_engine_keeps_its_devices(monkeypatch):
    """The check of an engine comes after the first plan; it must not plan for one GPU."""
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: True)
    config = load_config("smollm2_135m")

    class Data(list):
        lengths, supervised_tokens = torch.full((12_457,), 340), 60 * 12_457

    def again(first):
        return plans.replan(first, config, SMOLLM_135M, Data(range(12_457)), Engine(), 42)

    first = plan(shape=SMOLLM_135M, devices=2)
    assert again(first).devices == 2 and not again(first).graphs
    alone = again(replace(first, devices=1))
    assert alone.devices == 1 and alone.graphs
    assert not plans.on_engine(alone, Engine("plain", layers="own")).graphs
