"""The YAML files of the description that this project follows load as they are printed there."""

import pytest

from yoyak.config import loading
from yoyak.config.loading import load_config

BASE = """\
model:
  type: causal_lm
  checkpoint: "Bllossom/llama-3.2-Korean-Bllossom-3B"

lora:
  r: 16
  alpha: 32
  target_modules:
    - "q_proj"
    - "k_proj"
    - "v_proj"
    - "o_proj"
    - "gate_proj"
    - "up_proj"
    - "down_proj"
  dropout: 0.05
  use_qlora: true

tokenizer:
  encoder_max_len: 1024  # Prompt truncation 방지
  decoder_max_len: 200

training:
  epochs: 3
  batch_size: 8
  gradient_accumulation_steps: 8
  learning_rate: 2e-5
  lr_scheduler_type: "cosine"
  warmup_ratio: 0.1
  weight_decay: 0.1
  max_grad_norm: 1.2
  gradient_checkpointing: true
"""
LLAMA = """\
_base_: ../base/causal_lm.yaml

model:
  checkpoint: "Bllossom/llama-3.2-Korean-Bllossom-3B"
  size: "3B"
  dtype: "bf16"
  chat_template: "llama"

dataset:
  format_type: "chat"

experiment:
  name: "llama_3.2_3b_qlora"
  tags:
    - "llama"
    - "3b"
    - "qlora"
"""
QWEN = """\
_base_: ../base/causal_lm.yaml

model:
  checkpoint: "Qwen/Qwen3-4B-Instruct-2507"
  size: "4B"
  dtype: "fp16"
  chat_template: "qwen"

training:
  batch_size: 6
  gradient_accumulation_steps: 10

dataset:
  format_type: "chat"

experiment:
  name: "qwen3_4b_qlora"
  tags:
    - "qwen"
    - "4b"
    - "qlora"
"""
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture
def printed(tmp_path, monkeypatch):
    for name, text in (("base/causal_lm", BASE), ("models/llama_3.2_3b", LLAMA)):
        (tmp_path / "config" / name).parent.mkdir(parents=True)
        (tmp_path / "config" / f"{name}.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "config/models/qwen3_4b.yaml").write_text(QWEN, encoding="utf-8")
    monkeypatch.setattr(loading, "CONFIG", tmp_path / "config")
    monkeypatch.chdir(tmp_path)


def test_the_values_are_those_that_are_printed(printed):
    config = load_config("llama_3.2_3b")
    assert config.model.model_dump(exclude={"revision"}) == {
        "type": "causal_lm",
        "checkpoint": "Bllossom/llama-3.2-Korean-Bllossom-3B",
        "size": "3B",
        "dtype": "bf16",
        "chat_template": "llama",
    }
    lora = config.lora
    assert (lora.r, lora.alpha, lora.dropout, lora.use_qlora) == (16, 32, 0.05, True)
    assert lora.target_modules == sorted(PROJECTIONS)
    assert config.tokenizer.model_dump() == {"encoder_max_len": 1024, "decoder_max_len": 200}
    ours = {"max_steps", "optim", "early_stopping_patience"}
    ours |= {"loraplus_lr_ratio", "neftune_noise_alpha"}
    assert config.training.model_dump(exclude=ours) == {
        "epochs": 3,
        "batch_size": 8,
        "gradient_accumulation_steps": 8,
        "learning_rate": 2e-5,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.1,
        "weight_decay": 0.1,
        "max_grad_norm": 1.2,
        "gradient_checkpointing": True,  # and not `auto`: what a file sets is kept
    }
    assert config.dataset.format_type == "chat"
    assert config.experiment.name == "llama_3.2_3b_qlora"
    assert config.experiment.tags == ["llama", "3b", "qlora"]


def test_the_other_model_lies_over_the_same_base(printed):
    config = load_config("qwen3_4b")
    assert config.model.checkpoint == "Qwen/Qwen3-4B-Instruct-2507"
    assert (config.model.size, config.model.dtype, config.model.chat_template) == (
        *("4B", "fp16", "qwen"),
    )
    assert config.model.compute_dtype == "float16"
    assert (config.training.batch_size, config.training.gradient_accumulation_steps) == (6, 10)
    assert (config.training.epochs, config.experiment.name) == (3, "qwen3_4b_qlora")


@pytest.mark.parametrize("name", ["llama_3.2_3b", "qwen3_4b"])
def test_our_own_files_differ_only_where_they_say_so(printed, monkeypatch, name):
    as_printed = load_config(name).model_dump()
    monkeypatch.undo()
    ours = load_config(name).model_dump()
    differing = {
        f"{part}.{key}"
        for part in ours
        for key in ours[part]
        if ours[part][key] != as_printed[part][key]
    }
    assert differing <= {
        *("lora.target_modules", "training.gradient_checkpointing"),
        "resources.expected_gpu_memory_gb",
    }
