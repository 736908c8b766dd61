"""What a job asks a cluster for: measured, planned, or usual; never an error."""

import json
import math

import pytest

from yoyak.config.loading import load_config
from yoyak.errors import PROJECT_ROOT
from yoyak.run.execution import GIB
from yoyak.run.needs import (
    BASE_MB,
    START_SECONDS,
    UNKNOWN,
    Needs,
    count_examples,
    loading_mb,
    measured,
    read_shape,
    training_needs,
)

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
EIGHT_B = {
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}


@pytest.fixture
def shape(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(EIGHT_B))
    return read_shape(tmp_path / "config.json")


def test_each_attempt_asks_for_more():
    needs = Needs(memory_mb=10_000, seconds=7201)
    assert [needs.minutes(attempt) for attempt in (1, 2, 3)] == [121, 242, 363]
    assert [needs.megabytes(attempt) for attempt in (1, 2, 3)] == [10_000, 15_000, 20_000]
    assert Needs(1, 5).minutes(1) == 30


def test_the_largest_measurement_counts(tmp_path):
    (tmp_path / "m-chat-none-seed1.tsv").write_text(HEADER + "4000.5\t1:06:40\t20000\t" + "1\t" * 7)
    (tmp_path / "m-instruction-none-seed1.tsv").write_text(HEADER + "9000\t2:30:00\t9000\t")
    (tmp_path / "m-chat-templates-seed1.tsv").write_text(HEADER + "99000\t\t99000\t")
    (tmp_path / "m-chat-none-seed2.tsv").write_text(HEADER + "NA\tNA\tNA\n")
    (tmp_path / "m-chat-none-seed3.tsv").write_text("")
    (tmp_path / "m-chat-none-seed4.tsv").write_bytes(b"\xff\xfe\x00")
    assert measured(tmp_path, "m-*-none-*.tsv") == Needs(30_000, START_SECONDS + 13_500)
    assert measured(tmp_path, "other-*.tsv") is None
    assert measured(tmp_path / "nowhere", "*.tsv") is None


def test_a_plan_gives_a_large_model_more_time_and_memory(shape):
    config = load_config("llama_3_8b")
    one, two = (training_needs(config, shape, 12_000, 4_000_000, n) for n in (1, 2))
    assert 2 * 3600 < one.seconds < 24 * 3600
    assert math.isclose(one.seconds - START_SECONDS, 2 * (two.seconds - START_SECONDS))
    assert 20_000 < one.memory_mb < 40_000 < two.memory_mb
    tiny = read_shape(PROJECT_ROOT / "workflow/resources/models/tiny_llama/config.json")
    small = training_needs(load_config("tiny_llama"), tiny, 600, 200_000, 1)
    assert small.seconds < START_SECONDS + 60
    assert small.memory_mb < BASE_MB + 100


def test_a_model_too_large_for_the_assumed_card_has_a_time_too(shape):
    config = load_config("llama_3_8b")
    config.lora.use_qlora = config.lora.use_lora = False
    assert loading_mb(shape) * 1e6 < 40 * GIB
    assert training_needs(config, shape, 12_000, 4_000_000, 1).seconds > 3600


def test_nothing_known_is_no_error(tmp_path):
    config = load_config("llama_3_8b")
    assert training_needs(config, None, None, None, 1).seconds == UNKNOWN
    for name, text in (("a", "{"), ("b", "[]"), ("c", "{}"), ("d", '{"num_attention_heads": "x"}')):
        (tmp_path / name).write_text(text)
        assert read_shape(tmp_path / name) is None
    assert read_shape(tmp_path / "absent") is None
    assert count_examples(tmp_path / "absent", [tmp_path / "absent.csv"], 5) is None


def test_examples_are_counted_where_they_are_best_known(tmp_path):
    raw = tmp_path / "train.csv"
    raw.write_text('fname,dialogue\na,"one\ntwo"\nb,three\n', encoding="utf-8-sig")
    lines = tmp_path / "train.jsonl"
    lines.write_text("{}\n{}\n\n{}\n")
    statistics = tmp_path / "statistics.json"
    assert count_examples(statistics, [tmp_path / "absent.csv", raw], 5) == (10, 3300)
    assert count_examples(statistics, [lines], 1) == (3, 990)
    statistics.write_text(json.dumps({"train": {"examples": 7, "tokens": 70}}))
    assert count_examples(statistics, [raw], 5) == (7, 70)
