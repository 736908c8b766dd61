"""`training.learning_rate: auto`: the published formula, and what a training takes of it."""

import logging
from types import SimpleNamespace

import pytest
from tiny_models import changed
from transformers import LlamaConfig

from yoyak.config.loading import load_config
from yoyak.training.learning_rate import lora_rate, with_peak_rate


@pytest.mark.parametrize(
    "family, hidden, rate",
    [
        ("llama", 2000, 5e-4),
        ("llama", 4096, 2.86e-4),  # Llama-3.1-8B
        ("llama", 3072, 3.58e-4),  # Llama-3.2-3B
        ("llama", 576, 1.32e-3),  # SmolLM2-135M, of which 1e-3 was the best rate measured
        ("qwen3", 2560, 4.91e-4),  # Qwen3-4B
        ("qwen3_moe", 2048, 4.99e-4),
        ("gemma3_text", 640, 5e-4),  # no exponent is known
    ],
)
def test_rates_are_the_formulas(family, hidden, rate):
    assert lora_rate(family, hidden)[0] == rate


def test_auto_becomes_a_number_that_the_log_explains(caplog):
    model = SimpleNamespace(config=LlamaConfig(hidden_size=3072))
    config = load_config("llama_3.2_3b")
    assert with_peak_rate(config, model) is config.training
    caplog.set_level(logging.INFO)
    training = with_peak_rate(changed(config, training={"learning_rate": "auto"}), model)
    assert (training.learning_rate, training.epochs) == (3.58e-4, 3)
    assert (
        "auto is 0.000358 (5e-05 × 10 × (2000 / 3072) ** 0.781, exponent of llama)" in caplog.text
    )
