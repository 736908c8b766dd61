"""train_llm.py by hand: a model file on its own data, as a person types it."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
import train_llm
from tiny_models import changed
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from yoyak.config.loading import load_config
from yoyak.config.study import Run
from yoyak.data.own_data import own_study
from yoyak.errors import PROJECT_ROOT, UserError
from yoyak.run.logs import start_log
from yoyak.run.manual import result_folder

COMMAND = ("--experiment", "llama_3.2_3b", "--use_qlora")
RESULT = "results/manual/llama_3.2_3b_qlora"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A local random checkpoint of a Llama shape that knows Korean."""
    folder = tmp_path_factory.mktemp("checkpoints") / "llama"
    embedded = PROJECT_ROOT / "workflow" / "resources" / "models" / "tiny_llama"
    size = len(PreTrainedTokenizerFast.from_pretrained(embedded))
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    torch.manual_seed(3)
    config = LlamaConfig(vocab_size=size, max_position_embeddings=2048, **shape, **heads)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy2(embedded / name, folder)
    return folder


@pytest.fixture
def place(checkpoint, tmp_path, monkeypatch) -> Path:
    """A working directory without data, in which llama_3.2_3b is that checkpoint."""
    monkeypatch.chdir(tmp_path)
    models = tmp_path / "config" / "models"
    models.mkdir(parents=True)
    base = PROJECT_ROOT / "config" / "models" / "llama_3.2_3b.yaml"
    text = f"_base_: {base}\nmodel: {{checkpoint: {checkpoint}, dtype: fp32}}\n"
    (models / "llama_3.2_3b.yaml").write_text(text)
    return tmp_path


def write_data(place: Path, train: int = 100, dev: int = 12) -> None:
    (place / "data" / "raw").mkdir(parents=True, exist_ok=True)
    for split, rows in (("train", train), ("dev", dev)):
        lines = [f"{split}_{n},#Person1#: {split} {n}번이에요.,{n}번이다." for n in range(rows)]
        text = "\n".join(["fname,dialogue,summary", *lines])
        (place / "data" / "raw" / f"{split}.csv").write_text(text + "\n", encoding="utf-8")


def run(monkeypatch, *flags: str) -> None:
    monkeypatch.setattr(sys, "argv", ["train_llm.py", *COMMAND, *flags])
    train_llm.main()


def prepared(monkeypatch, *flags: str) -> tuple[Path, dict]:
    """Output folder and statistics of a command that stops before it trains."""
    calls = []
    with monkeypatch.context() as stopped:
        stopped.setattr(train_llm, "train_run", lambda *arguments: calls.append(arguments))
        run(stopped, *flags)
    _, _, examples, output, *_ = calls[0]
    return output, json.loads((examples / "statistics.json").read_text(encoding="utf-8"))


def test_missing_data_is_one_line_before_anything_is_made(place, monkeypatch):
    before = sorted(place.rglob("*"))
    with pytest.raises(UserError, match="^data/raw/train.csv and data/raw/dev.csv: no such file"):
        run(monkeypatch)
    assert sorted(place.rglob("*")) == before
    write_data(place)
    (place / "data/raw/dev.csv").unlink()
    with pytest.raises(UserError, match="^data/raw/dev.csv: no such file.*fname,dialogue,summary"):
        run(monkeypatch)


def test_a_model_file_trains_on_its_own_data_and_nothing_finished_is_lost(
    place, monkeypatch, caplog
):
    write_data(place)
    caplog.set_level("INFO")
    file = place / "config/models/llama_3.2_3b.yaml"
    file.write_text(file.read_text() + "tracking: {report_to: [tensorboard]}\n")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")
    run(monkeypatch)
    tracked = "tracking/tensorboard/manual/llama_3.2_3b-chat-fine_tuned-seed42/*/events.*"
    assert len(list(place.glob(tracked))) == 1
    assert "training on data/raw/train.csv: 100 dialogues, 100 examples" in caplog.text
    assert "the best checkpoint is chosen on data/raw/dev.csv: 12 dialogues" in caplog.text
    adapter = place / RESULT / "final_model" / "adapter_model.safetensors"
    trained = adapter.read_bytes()
    record = json.loads((place / RESULT / "run.json").read_text(encoding="utf-8"))
    assert set(record["data"]) == {"data/raw/train.csv", "data/raw/dev.csv"}
    assert record["run"]["format"] == "chat" and record["steps"] == 6
    (log,) = (place / "logs").rglob("*.log")
    assert re.fullmatch(
        r"logs/(\d{8})/train/train_llm_llama_3.2_3b_\1_\d{6}\.log", str(log.relative_to(place))
    )

    prepared(monkeypatch)  # the same settings and data: nothing to lose
    write_data(place, train=101)
    with pytest.raises(UserError, match=r"data/raw/train.csv is SHA-256 \w+… there.*--overwrite"):
        run(monkeypatch)
    write_data(place)
    file.write_text(file.read_text() + "training: {learning_rate: 0.001}\n")
    with pytest.raises(UserError) as refused:
        run(monkeypatch)
    for said in (RESULT, "training.learning_rate is 2e-05 there and 0.001 here", "--overwrite"):
        assert said in str(refused.value)
    assert adapter.read_bytes() == trained
    output, _ = prepared(monkeypatch, "--overwrite")
    assert str(output) == RESULT


def test_debug_and_templates_do_what_they_say(place, monkeypatch):
    write_data(place)
    output, counted = prepared(monkeypatch, "--use_instruction_augmentation")
    assert str(output) == f"{RESULT}_templates"
    assert (counted["train"]["examples"], counted["selection"]["examples"]) == (500, 12)
    output, counted = prepared(monkeypatch, "--debug", "--format", "instruction", "--seed", "7")
    assert str(output) == f"{RESULT}_instruction_seed7_debug"
    assert (counted["train"]["examples"], counted["selection"]["examples"]) == (50, 10)
    config = load_config("llama_3.2_3b", debug=True)
    training = config.training
    assert (training.epochs, training.batch_size, config.tracking.report_to) == (1, 2, [])


def test_the_folder_is_named_by_the_file_and_what_flags_change():
    def name(file, config, cell, debug=False):
        return result_folder(file, config, cell, debug).name

    file = load_config("qwen3_4b")
    plain = Run("qwen3_4b", "chat", "fine_tuned", 42)
    assert name(file, file, plain) == "qwen3_4b_qlora"
    instruction = changed(file, dataset={"format_type": "instruction"})
    assert name(instruction, instruction, plain) == "qwen3_4b_qlora_chat"
    whole = changed(file, lora={"use_lora": False, "use_qlora": False})
    every = Run("qwen3_4b", "instruction", "fine_tuned_templates", 1)
    assert (
        name(file, whole, every, True) == "qwen3_4b_qlora_templates_instruction_no_lora_seed1_debug"
    )
    sixteen = changed(file, lora={"use_qlora": False})
    assert name(file, sixteen, plain) == "qwen3_4b_qlora_no_qlora"
    assert name(sixteen, file, plain) == "qwen3_4b_qlora_qlora"


def test_embedded_models_have_the_embedded_dialogues():
    def trained_on(name):
        return own_study(name, load_config(name)).settings.data.train

    for name in ("tiny_llama", "tiny_qwen3"):
        assert trained_on(name) == "workflow/resources/dialogues/train.csv"
    assert trained_on("smollm2_135m") == "data/raw/train.csv"


def test_two_starts_in_one_second_have_a_log_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert start_log("train", "train_llm_a") != start_log("train", "train_llm_a")
