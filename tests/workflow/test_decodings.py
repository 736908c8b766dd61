"""A study compares decodings: models that differ in them alone share one training."""

import csv
import json

import pytest
from workflow_project import SMALL

TAKEN, TRAINED = (
    f"runs/{name}/default/chat/fine_tuned/seed42" for name in ("tiny_llama_beams", "tiny_llama")
)
BEAMS = "_base_: tiny_llama.yaml\ngeneration: {num_beams: 2, no_repeat_ngram_size: 3}\n"


@pytest.fixture
def project(finished, tmp_path):
    project = finished.copy(tmp_path / "study")
    project.path("config/models/tiny_llama_beams.yaml").write_text(BEAMS)
    models = ["tiny_llama", "tiny_llama_beams"]
    project.write_study("small", {**SMALL, "models": models, "augmentations": ["none"]})
    return project


def test_another_decoding_plans_no_training(project):
    planned = project.planned()
    assert "train" not in planned
    assert (planned["take_training"], planned["generate"], planned["generate_zero_shot"]) == (
        1,
    ) * 3
    text = f"{BEAMS}training: {{learning_rate: 1.0e-3}}\n"
    project.path("config/models/tiny_llama_beams.yaml").write_text(text)
    planned = project.planned()
    assert planned["train"] == 1 and "take_training" not in planned


@pytest.mark.slow
def test_the_study_reports_both_decodings_of_one_adapter(project):
    project.run()
    adapters = [
        project.results / run / "final_model/adapter_model.safetensors" for run in (TAKEN, TRAINED)
    ]
    assert adapters[0].read_bytes() == adapters[1].read_bytes()
    record, decoded = (
        json.loads((project.results / TAKEN / part).read_text(encoding="utf-8"))
        for part in ("run.json", "predictions/run.json")
    )
    assert record["run"]["model"] == decoded["run"]["model"] == "tiny_llama_beams"
    assert record["taken_from"].endswith(TRAINED)
    assert decoded["decoding"]["num_beams"] == 2 and decoded["engine"] == "plain"
    with open(project.results / "tables/rouge.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["tokenizer"] == "morphemes"]
    assert [(row["model"], row["condition"]) for row in rows] == [
        (model, condition)
        for model in ("tiny_llama", "tiny_llama_beams")
        for condition in ("zero_shot", "fine_tuned")
    ]
    assert project.planned() == {}
