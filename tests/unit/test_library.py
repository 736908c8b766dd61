"""The library, by the names and the program of the project's description."""

import json
import os
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import torch
from prompt_files import KOREAN
from score import score

import yoyak
from yoyak.config.study import load_study
from yoyak.data.cleaning import clean_text
from yoyak.errors import PROJECT_ROOT
from yoyak.generation.predictions import generate_splits
from yoyak.models.attention import PACKED

EMBEDDED = PROJECT_ROOT / "workflow/resources/dialogues/train.csv"
FEW = {"max_steps": 12, "batch_size": 4, "gradient_accumulation_steps": 2, "learning_rate": 5e-3}


def test_its_names_are_handed_out_without_loading_torch():
    program = "import sys, yoyak; yoyak.load_config; assert 'torch' not in sys.modules"
    path = {"PYTHONPATH": str(PROJECT_ROOT / "workflow/scripts")}
    subprocess.run([sys.executable, "-c", program], env=os.environ | path, check=True)
    assert all(callable(getattr(yoyak, name)) for name in yoyak.__all__) and len(yoyak.__all__) == 8
    with pytest.raises(AttributeError, match="no attribute 'LoraLoader'"):
        yoyak.LoraLoader  # noqa: B018


def test_the_documented_program(tmp_path, monkeypatch):
    text = (PROJECT_ROOT / "docs/usage.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"## As a library\n\n```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow").symlink_to(PROJECT_ROOT / "workflow")
    names: dict = {}
    exec(program, names)  # noqa: S102
    assert (tmp_path / "my_run/final_model/adapter_model.safetensors").is_file()
    assert names["results"]["eval_loss"] == pytest.approx(names["scores"]["eval_loss"])


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A project's folder with data/raw/: 30 rows and 10, without the noise that a study cleans."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "data/raw").mkdir(parents=True)
    table = pd.read_csv(EMBEDDED)[["fname", "dialogue", "summary"]].map(clean_text)
    table[:30].to_csv(folder / "data/raw/train.csv", index=False)
    table[30:40].to_csv(folder / "data/raw/dev.csv", index=False)
    return folder


def of_the_studys_steps(config, prompt_format, output, work) -> dict[str, float]:
    """ROUGE that generate.py and score.py come to with the adapter in final_model/."""
    data, predictions = work / "data", work / "predictions"
    data.mkdir()
    predictions.mkdir()
    for split in ("train", "dev"):
        shutil.copy2(f"data/raw/{split}.csv", data)
    files = {"dev": data / "dev.csv"}
    lines, _ = generate_splits(config, prompt_format, KOREAN, output / "final_model", files, "cpu")
    (predictions / "dev.jsonl").write_text(lines["dev"], encoding="utf-8")
    shutil.copy2(output / "run.json", predictions)
    score(load_study("embedded").settings.metric, "ko", predictions, data, work / "scores")
    summary = json.loads((work / "scores/summary.json").read_text(encoding="utf-8"))
    found = summary["scores"][summary["primary"]]["all"]
    return {name: found[name] for name in ("rouge1", "rouge2", "rougeL")}


@pytest.mark.parametrize("prompt_format", ["chat", "instruction"])
def test_the_program_of_the_description(raw, tmp_path, monkeypatch, prompt_format):
    from yoyak.config import load_config
    from yoyak.data.llm_dataset import create_llm_dataset
    from yoyak.models.lora_loader import load_lora_model_and_tokenizer
    from yoyak.training.llm_trainer import create_llm_trainer

    monkeypatch.chdir(raw)
    config = load_config("tiny_llama")
    config.training = config.training.model_copy(update=FEW)
    config.experiment.name = f"tiny_{prompt_format}"
    model, tokenizer = load_lora_model_and_tokenizer(config, use_lora=True, use_qlora=True)
    own_attention = model.config._attn_implementation
    sets = []
    for split in ("train", "dev"):
        table = pd.read_csv(f"data/raw/{split}.csv")
        sets.append(
            create_llm_dataset(
                dialogues=table["dialogue"].tolist(),
                summaries=table["summary"].tolist(),
                tokenizer=tokenizer,
                encoder_max_len=1024,
                decoder_max_len=200,
                format_type=prompt_format,
            )
        )
    train_dataset, eval_dataset = sets
    trainer = create_llm_trainer(
        config=config,
        model=model,
        tokenizer=tokenizer,
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
    )
    before = trainer.evaluate()["eval_loss"]
    results = trainer.train()

    output = raw / "results/manual" / f"tiny_{prompt_format}"
    assert results["final_model"].resolve() == output / "final_model"
    assert (output / "final_model/adapter_model.safetensors").is_file()
    losses = pd.read_csv(output / "training_log.csv")["loss"]
    assert len(losses) == 12 and losses.iloc[-1] < losses.iloc[0]
    assert results["train_loss"] == pytest.approx(losses.mean(), abs=1e-3)
    assert 0 < results["eval_loss"] < before and 0 < results["best_step"] <= 12
    after = trainer.evaluate()  # the best is in the model
    assert after == {"eval_loss": pytest.approx(results["eval_loss"])}
    assert not list(output.glob(".work/*/"))
    before = {name: part.clone() for name, part in model.state_dict().items()}
    scored = trainer.evaluate(rouge=True)
    assert scored == after | of_the_studys_steps(config, prompt_format, output, tmp_path)
    assert all(torch.equal(part, before[name]) for name, part in model.state_dict().items())
    # The model is transformers' own again: it computes and generates.
    assert model.config._attn_implementation == own_attention != PACKED
    item = eval_dataset[0]
    batch = {key: value[None].to(model.device) for key, value in item.items()}
    with torch.no_grad():
        assert model(**batch).loss > 0
    prompt = batch["input_ids"][:, : int(eval_dataset.prompt_lengths[0])]
    made = model.generate(input_ids=prompt, max_new_tokens=3, do_sample=False)
    assert made.shape[1] > prompt.shape[1]
