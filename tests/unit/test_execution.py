"""Execution plans: hand-made choices kept, the fastest that fits, errors in words."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from tiny_models import changed

from yoyak.config.loading import load_config
from yoyak.config.model_config import ExecutionSettings
from yoyak.errors import UserError
from yoyak.run.execution import GIB, next_smaller, plan_training
from yoyak.run.memory import ModelShape, expected_seconds, operations, predict_bytes

LLAMA_3B = ModelShape(28, 3072, 8192, 24, 8, 128, 128256, True, fusable=True)
LLAMA_8B = ModelShape(32, 4096, 14336, 32, 8, 128, 128256, False, fusable=True)
QWEN_4B = ModelShape(36, 2560, 9728, 32, 8, 128, 151936, True, fusable=True, head_norms=True)


def plan(free=139, shape=LLAMA_3B, device="cuda:0", choices=None, dtype="bf16", **facts):
    """The plan of a usual training; choices: keys of `training` and `execution`."""
    sections = {"training": {}, "execution": {}}
    for key, value in (choices or {}).items():
        sections["execution" if key in ExecutionSettings.model_fields else "training"][key] = value
    lora = {key: facts.pop(key) for key in ("use_lora", "use_qlora") if key in facts}
    config = changed(load_config("llama_3.2_3b"), model={"dtype": dtype}, lora=lora, **sections)
    usual = {"supports_bf16": True, "longest": 1224, "batch_tokens": 21_000, "steps": 585}
    return plan_training(config, shape, device=device, free_bytes=int(free * GIB), **usual | facts)


def test_a_free_h200_runs_fused_without_recomputing():
    found = plan()
    assert (found.compile, found.gradient_checkpointing) == (True, False)
    assert found.base_weights == "dequantized" and found.token_budget == 32768
    assert found.optim == "adamw_torch_fused"


@pytest.mark.parametrize("free", (139, 79, 47, 23, 15, 11, 7.5))
@pytest.mark.parametrize("shape", (LLAMA_3B, LLAMA_8B, QWEN_4B))
def test_a_plan_fits_and_less_memory_never_means_more(free, shape):
    if shape is LLAMA_8B and free < 11:
        pytest.skip("8B does not fit there")
    found = plan(free, shape)
    assert found.predicted_bytes < free * GIB
    assert found.token_budget >= 1224


@pytest.mark.parametrize(
    "execution",
    [
        {"token_budget": 3000},
        {"base_weights": "nf4"},
        {"gradient_checkpointing": True},
        {"compile": False},
        {"optim": "paged_adamw_32bit"},
        {"token_budget": 512, "base_weights": "nf4", "gradient_checkpointing": False},
    ],
)
def test_choices_made_by_hand_are_kept(execution):
    record = plan(choices=execution).record()
    assert {key: record[key] for key in execution} == execution


def test_too_little_memory_is_an_error_in_words():
    with pytest.raises(UserError, match=r"cuda:0 has 3\.0 GiB free.*smallest plan needs"):
        plan(3)
    with pytest.raises(UserError, match="smallest plan needs"):
        plan(20, choices={"base_weights": "dequantized", "token_budget": 65536,
                            "gradient_checkpointing": False})  # fmt: skip


def test_short_trainings_do_not_wait_for_a_compiler():
    assert plan(steps=1, batch_tokens=3000).compile is False
    assert plan(steps=585).compile is True


def test_only_covered_architectures_run_fused():
    assert plan(shape=replace(LLAMA_3B, fusable=False)).compile is False
    assert plan(use_lora=False, use_qlora=False).compile is False
    assert plan(dtype="fp32").compile is False
    assert plan(supports_bf16=False).compile is False
    with pytest.raises(UserError, match="execution.compile: true needs"):
        plan(supports_bf16=False, choices={"compile": True})


def test_a_cpu_computes_in_float32_with_plain_layers():
    found = plan(device="cpu", free=0, choices={"threads": 3})
    assert (found.compute_dtype, found.optim, found.threads) == ("float32", "adamw_torch", 3)
    assert (found.compile, found.token_budget) == (False, 2048)


@pytest.mark.parametrize("optim", ["paged_adamw_32bit", "paged_adamw_8bit"])
def test_a_cpu_has_no_paged_optimiser(optim):
    with pytest.raises(UserError, match=f"training.optim: found {optim}.*write auto"):
        plan(device="cpu", free=0, choices={"optim": optim})


def test_a_gpu_without_bf16_uses_fp16():
    assert plan(supports_bf16=False).compute_dtype == "float16"
    assert plan(dtype="fp16").compute_dtype == "float16"


def test_after_out_of_memory_each_plan_is_smaller_until_none_is():
    found, peaks = plan(), []
    while found is not None:
        peaks.append(found.predicted_bytes)
        last = found
        found = next_smaller(found, LLAMA_3B, lora_rank=16, use_qlora=True)
    assert peaks == sorted(peaks, reverse=True) and len(peaks) > 5
    assert last.gradient_checkpointing and last.base_weights == "nf4" and last.token_budget == 512
    assert next_smaller(plan(device="cpu"), LLAMA_3B, lora_rank=16, use_qlora=True) is None


def test_shapes_come_from_a_config():
    config = SimpleNamespace(
        model_type="qwen3", num_hidden_layers=36, hidden_size=2560, intermediate_size=9728,
        num_attention_heads=32, num_key_value_heads=8, head_dim=128, vocab_size=151936,
        tie_word_embeddings=True, hidden_act="silu", attention_bias=False,
    )  # fmt: skip
    assert ModelShape.from_config(config) == QWEN_4B
    config.attention_bias = True
    assert not ModelShape.from_config(config).fusable
    assert LLAMA_3B.linear_parameters == 2_818_572_288
    assert LLAMA_3B.lora_parameters(16) == 24_313_856


def test_operations_and_time_of_the_3b_shape():
    assert operations(LLAMA_3B, 16, recompute=False) == pytest.approx(11.4e9, rel=0.01)
    seconds = expected_seconds(
        LLAMA_3B, lora_rank=16, tokens=12_457 * 3 * 330, rate=790e12, cuda=True,
        gradient_checkpointing=False, compile=True,
    )  # fmt: skip
    assert 200 < seconds < 400


def test_recomputing_and_nf4_need_less():
    facts = {"lora_rank": 16, "use_qlora": True, "token_budget": 8192, "compile": True}
    sizes = [
        predict_bytes(LLAMA_3B, base_weights=base, gradient_checkpointing=again, **facts)
        for base, again in (("dequantized", False), ("nf4", False), ("nf4", True))
    ]
    assert sizes == sorted(sizes, reverse=True)


def test_the_table_says_what_matters():
    table = plan().table()
    assert "32,768 tokens" in table and "GiB predicted of 139.0 GiB free" in table


MEASURED = [  # benchmarks/README.md: shape, NF4 and recomputed, tokens of a pack, GB
    (LLAMA_3B, False, 24_983, 75.45),
    (LLAMA_3B, True, 11_396, 6.21),
    (QWEN_4B, False, 22_140, 108.28),
    (QWEN_4B, True, 7_408, 5.89),
    (LLAMA_8B, True, 7_629, 9.90),
]


@pytest.mark.parametrize("shape, small, tokens, measured", MEASURED)
def test_predictions_are_a_little_above_what_was_measured(shape, small, tokens, measured):
    predicted = predict_bytes(
        shape, lora_rank=16, use_qlora=True, base_weights="nf4" if small else "dequantized",
        token_budget=tokens, gradient_checkpointing=small, compile=True,
    )  # fmt: skip
    assert 1.0 < predicted / 1e9 / measured < 1.3
