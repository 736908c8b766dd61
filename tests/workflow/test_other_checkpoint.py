"""A checkpoint unlike the embedded ones, untied and in two shards, through the same scripts."""

import json

from workflow_project import SMALL

CELL = "runs/sharded/default/chat/fine_tuned/seed42"


def write_sharded(project) -> None:
    """Random weights in the embedded Llama's shape, the output layer its own, in two files."""
    import shutil

    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    embedded = project.path("workflow/resources/models/tiny_llama")
    folder = project.path("models/sharded")
    folder.mkdir(parents=True)
    config = AutoConfig.from_pretrained(embedded)
    config.tie_word_embeddings = False
    torch.manual_seed(3)
    model = AutoModelForCausalLM.from_config(config)
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())
    model.save_pretrained(folder, max_shard_size=int(size * 0.6))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy2(embedded / name, folder)
    assert len(list(folder.glob("*.safetensors"))) == 2


def test_untied_sharded_checkpoint_is_trained_and_scored(bare, tmp_path):
    project = bare.copy(tmp_path / "요약 study")
    write_sharded(project)
    text = (
        "_base_: tiny_llama.yaml\nmodel: {checkpoint: models/sharded}\ntraining: {max_steps: 2}\n"
    )
    project.path("config/models/sharded.yaml").write_text(text)
    project.write_study("small", {**SMALL, "models": ["sharded"], "augmentations": ["none"]})

    scores = [
        f"results/small-debug/{run}/scores/summary.json" for run in (CELL, "zero_shot/sharded/chat")
    ]
    project.run(*scores)

    for score in scores:
        assert json.loads(project.path(score).read_text(encoding="utf-8"))["n"] == 10
    record = json.loads((project.results / CELL / "run.json").read_text(encoding="utf-8"))
    shards = [name for name in record["inputs"] if name.endswith(".safetensors")]
    assert len([name for name in shards if "models/sharded" in name]) == 2
