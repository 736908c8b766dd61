"""A checkpoint and data unlike the embedded ones through the same scripts: untied weights in two
shards, a folder of nested JSON documents."""

import json
import re

import pytest
from workflow_project import SMALL

from yoyak.data.dialogues import read_dialogues

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


def write_documents(project, split: str) -> None:
    """An embedded split in the shape of AI Hub: documents in two files, P01 for #Person1#."""
    rows = read_dialogues(project.path(f"workflow/resources/dialogues/{split}.csv"))
    folder = project.path(f"data/{split}")
    folder.mkdir(parents=True)
    for name, part in (("하나", rows[::2]), ("둘", rows[1::2])):
        documents = [
            {
                "header": {"dialogueInfo": {"dialogueID": row.fname, "topic": row.topic}},
                "body": {
                    "dialogue": [
                        {"participantID": f"P0{number}", "utterance": words}
                        for number, words in re.findall(
                            r"^#Person(\d)#: (.+)$", row.dialogue, flags=re.MULTILINE
                        )
                    ],
                    "summary": re.sub(r"#Person(\d)#", r"P0\1", row.summary),
                },
            }
            for row in part
        ]
        text = json.dumps({"numberOfItems": len(part), "data": documents}, ensure_ascii=False)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


NESTED = {
    **{"train": "data/train", "dev": "data/dev", "speakers": "numbered"},
    "columns": {
        **{"fname": "header.dialogueInfo.dialogueID", "topic": "header.dialogueInfo.topic"},
        **{"dialogue": "body.dialogue", "summaries": ["body.summary"]},
    },
}


@pytest.mark.slow
def test_untied_sharded_checkpoint_is_trained_and_scored_on_nested_documents(bare, tmp_path):
    project = bare.copy(tmp_path / "요약 study")
    write_sharded(project)
    text = (
        "_base_: tiny_llama.yaml\nmodel: {checkpoint: models/sharded}\ntraining: {max_steps: 2}\n"
    )
    project.path("config/models/sharded.yaml").write_text(text)
    for split in ("train", "dev"):
        write_documents(project, split)
    study = {**SMALL, "data": NESTED, "models": ["sharded"], "augmentations": ["none"]}
    project.write_study("small", study)

    scores = [
        f"results/small-debug/{run}/scores/summary.json" for run in (CELL, "zero_shot/sharded/chat")
    ]
    project.run(*scores)

    for score in scores:
        assert json.loads(project.path(score).read_text(encoding="utf-8"))["n"] == 10
    prepared, embedded = (
        {row.fname: row for row in read_dialogues(file)}
        for file in (
            project.results / "data/train.csv",
            project.path("workflow/resources/dialogues/train.csv"),
        )
    )
    assert len(prepared) == 50
    for fname, row in prepared.items():
        assert (row.dialogue, row.summary) == (embedded[fname].dialogue, embedded[fname].summary)
    record = json.loads((project.results / CELL / "run.json").read_text(encoding="utf-8"))
    shards = [name for name in record["inputs"] if name.endswith(".safetensors")]
    assert len([name for name in shards if "models/sharded" in name]) == 2
