"""The estimator: memory and time, what a cluster is asked for, warnings."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from model_shapes import (
    GEMMA_4B,
    LLAMA_3B,
    LLAMA_8B,
    QWEN_4B,
    QWEN_7B,
    QWEN_HALF_B,
    SMOLLM_135M,
    TINY,
)
from tiny_models import changed

from yoyak.config.loading import load_config
from yoyak.errors import UserError
from yoyak.models.shapes import local_shape, read_shape
from yoyak.run.estimate import (
    BASE_MB,
    DOUBT,
    START_SECONDS,
    UNKNOWN_SECONDS,
    Request,
    estimate_training,
    host_megabytes,
    measured_request,
    optimiser_steps,
    training_request,
    training_warnings,
)
from yoyak.run.gpus import GPUS, described_gpu
from yoyak.run.memory import GIB, ModelShape, expected_seconds, operations, predict_bytes


@pytest.mark.parametrize(("epochs", "steps"), [(1, 7), (3, 21), (0.5, 4), (1.5, 11)])
def test_steps_are_whole_as_the_trainers_are(epochs, steps):
    settings = {"epochs": epochs, "batch_size": 4, "gradient_accumulation_steps": 4}
    training = changed(load_config("tiny_llama"), training={**settings, "max_steps": None}).training
    assert optimiser_steps(training, examples=100) == steps


def test_shapes_come_from_a_config():
    config = SimpleNamespace(
        model_type="qwen3", num_hidden_layers=36, hidden_size=2560, intermediate_size=9728,
        num_attention_heads=32, num_key_value_heads=8, head_dim=128, vocab_size=151936,
        tie_word_embeddings=True, hidden_act="silu", attention_bias=False,
    )  # fmt: skip
    assert ModelShape.from_config(config) == QWEN_4B
    config.attention_dropout = 0.1
    assert not ModelShape.from_config(config).fusable
    assert LLAMA_3B.linear_parameters == 2_818_572_288
    assert LLAMA_3B.lora_parameters(16) == 24_313_856


def test_operations_and_time_of_the_3b_shape():
    assert operations(LLAMA_3B, 16, recompute=False) == pytest.approx(11.4e9, rel=0.01)
    seconds = expected_seconds(
        LLAMA_3B, lora_rank=16, tokens=12_457 * 3 * 330, rate=790e12, cuda=True,
        gradient_checkpointing=False, layers="fused",
    )  # fmt: skip
    assert 200 < seconds < 400


def test_recomputing_and_nf4_need_less():
    facts = {"lora_rank": 16, "use_qlora": True, "token_budget": 8192, "layers": "fused"}
    sizes = [
        predict_bytes(LLAMA_3B, base_weights=base, gradient_checkpointing=again, **facts)
        for base, again in (("dequantized", False), ("nf4", False), ("nf4", True))
    ]
    assert sizes == sorted(sizes, reverse=True)


MEASURED = [  # benchmarks/README.md: shape, layers, NF4 and recomputed, tokens of a pack, GB
    (LLAMA_3B, "fused", False, 24_652, 73.28),
    (LLAMA_3B, "fused", True, 11_493, 5.97),
    (LLAMA_3B, "compiled", False, 12_329, 57.06),
    (LLAMA_3B, "own", False, 12_329, 66.88),
    (QWEN_4B, "fused", False, 22_933, 106.02),
    (QWEN_4B, "fused", True, 7_408, 5.89),
    (LLAMA_8B, "fused", False, 12_329, 74.97),
    (LLAMA_8B, "fused", True, 7_702, 9.9),
    (QWEN_7B, "fused", False, 11_200, 68.3),
    (QWEN_7B, "fused", True, 7_474, 9.4),
    (LLAMA_8B, "fused", False, 4_089, 36.88),
    (GEMMA_4B, "compiled", False, 11_836, 71.66),
]


@pytest.mark.parametrize("shape, layers, small, tokens, measured", MEASURED)
def test_predictions_are_close_to_what_was_measured(shape, layers, small, tokens, measured):
    predicted = predict_bytes(
        shape, lora_rank=16, use_qlora=True, base_weights="nf4" if small else "dequantized",
        token_budget=tokens, gradient_checkpointing=small, layers=layers,
    )  # fmt: skip
    assert 0.97 < predicted / 1e9 / measured < 1.10


@pytest.mark.parametrize(
    "shape, tokens, reserved", [(SMOLLM_135M, 27_648, 30.21), (QWEN_HALF_B, 26_624, 56.75)]
)
def test_so_are_those_of_graphs_to_what_was_reserved(shape, tokens, reserved):
    predicted = predict_bytes(
        shape, lora_rank=16, use_qlora=True, base_weights="dequantized", token_budget=tokens,
        gradient_checkpointing=False, layers="fused", graphs=True,
    )  # fmt: skip
    assert 0.97 < predicted / 1e9 / reserved < 1.12


def test_float32_and_heads_with_norms_keep_more():
    facts = {"lora_rank": 16, "use_qlora": False, "token_budget": 4096, "layers": "own"}
    facts |= {"base_weights": "unquantized", "gradient_checkpointing": False}
    half, whole = (predict_bytes(LLAMA_3B, float32=wide, **facts) for wide in (False, True))
    assert 1.9 < whole / half < 2
    plain = replace(QWEN_4B, head_norms=False)
    more = predict_bytes(QWEN_4B, **facts) - predict_bytes(plain, **facts)
    assert more >= 4096 * 36 * 4 * (QWEN_4B.query + QWEN_4B.key_value)


# ---- estimates of a whole training ----

DATA = {"examples": 12_000, "tokens": 4_000_000, "longest": 1224}


def test_one_estimate_serves_plan_and_cluster():
    """The mission's memory: 3B within 8 GB, 4B within 10, 8B within 16."""
    for name, card in (("llama_3.2_3b", 8), ("qwen3_4b", 10), ("llama_3_8b", 16)):
        config = load_config(name)
        shape = local_shape(config.model)
        found = estimate_training(config, shape, GPUS["RTX A6000"], **DATA)
        assert found.smallest_bytes < card * 0.94 * GIB
        assert found.smallest_bytes <= found.plan.predicted_bytes + 2 * GIB
        asked = training_request(config, shape, tuple(DATA.values()))
        assert asked.seconds == DOUBT * found.seconds
        assert estimate_training(config, shape, described_gpu(card * 0.94, 100), **DATA)


def test_more_devices_share_the_time_and_each_loads_the_weights():
    config = load_config("llama_3_8b")
    two = changed(config, execution={"devices": 2})
    asked = [training_request(c, LLAMA_8B, tuple(DATA.values())) for c in (config, two)]
    start = DOUBT * START_SECONDS
    assert math.isclose(asked[0].seconds - start, 2 * (asked[1].seconds - start), rel_tol=0.2)
    assert 20_000 < asked[0].memory_mb < 40_000 < asked[1].memory_mb
    tiny = training_request(load_config("tiny_llama"), TINY, (600, 200_000, 700))
    assert tiny.minutes(1) == 30 and tiny.memory_mb < BASE_MB + 100


def test_a_model_too_large_for_the_usual_card_has_a_request_too():
    config = changed(load_config("llama_3_8b"), lora={"use_lora": False, "use_qlora": False})
    with pytest.raises(UserError, match="smallest plan needs"):
        estimate_training(config, LLAMA_8B, GPUS["RTX A6000"], **DATA)
    assert training_request(config, LLAMA_8B, tuple(DATA.values())).seconds > 3600


def test_nothing_known_is_no_error(tmp_path):
    config = load_config("llama_3_8b")
    assert training_request(config, None, None).seconds == UNKNOWN_SECONDS
    assert training_request(config, LLAMA_8B, None).seconds == UNKNOWN_SECONDS
    assert host_megabytes(None) == 30_000
    for name, text in (("a", "{"), ("b", "[]"), ("c", "{}"), ("d", '{"num_attention_heads": "x"}')):
        (tmp_path / name).write_text(text)
        assert read_shape(tmp_path / name) is None
    assert read_shape(tmp_path / "absent") is None


def test_each_attempt_asks_for_more():
    asked = Request(memory_mb=10_000, seconds=7201)
    assert [asked.minutes(attempt) for attempt in (1, 2, 3)] == [121, 242, 363]
    assert [asked.megabytes(attempt) for attempt in (1, 2, 3)] == [10_000, 15_000, 20_000]
    assert Request(1, 5).minutes(1) == 30


def test_the_largest_measurement_counts(tmp_path):
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    (tmp_path / "m-chat-none-seed1.tsv").write_text(header + "4000.5\t1:06:40\t20000\t" + "1\t" * 7)
    (tmp_path / "m-instruction-none-seed1.tsv").write_text(header + "9000\t2:30:00\t9000\t")
    (tmp_path / "m-chat-templates-seed1.tsv").write_text(header + "99000\t\t99000\t")
    (tmp_path / "m-chat-none-seed2.tsv").write_text(header + "NA\tNA\tNA\n")
    (tmp_path / "m-chat-none-seed3.tsv").write_text("")
    (tmp_path / "m-chat-none-seed4.tsv").write_bytes(b"\xff\xfe\x00")
    assert measured_request(tmp_path, "m-*-none-*.tsv") == Request(30_000, 13_500)
    assert measured_request(tmp_path, "other-*.tsv") is None
    assert measured_request(tmp_path / "nowhere", "*.tsv") is None


# ---- warnings ----


@pytest.mark.parametrize(
    "steps, longest, positions, ratio, words",
    [
        (500, 1224, 8192, 0.1, []),
        (50, 1224, 0, 0.1, []),
        (49, 1224, 2048, 0.1, ["only 49 optimiser steps"]),
        (100, 1224, 2048, 0.5, ["the warm-up takes 50 of 100"]),
        (2, 1224, 2048, 0.1, ["only 2 optimiser", "warm-up takes 1 of 2"]),
        (500, 2049, 2048, 0.1, ["2,049 tokens and the model was made for 2,048"]),
    ],
)
def test_trainings_that_teach_little_are_warned_of(steps, longest, positions, ratio, words):
    training = load_config("llama_3.2_3b").training.model_copy(update={"warmup_ratio": ratio})
    found = training_warnings(training, steps, longest, positions)
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))
