"""A study compares decodings: runs that differ in them alone share one training."""

import csv
import json

import pytest
from workflow_project import SMALL

TAKEN, TRAINED = (f"runs/tiny_llama/{name}/chat/fine_tuned/seed42" for name in ("beams", "default"))
BEAMS = {"num_beams": 2, "no_repeat_ngram_size": 3}


def write(project, models=("tiny_llama",), **beams):
    variants = {"variants": {"default": {}, "beams": beams}} if beams else {}
    study = {**SMALL, "models": list(models), "augmentations": ["none"], **variants}
    project.write_study("small", study)


@pytest.fixture
def project(finished, tmp_path):
    return finished.copy(tmp_path / "study")


def test_another_decoding_plans_no_training(project):
    write(project, generation=BEAMS)
    planned = project.planned()
    assert "train" not in planned and "generate_zero_shot" not in planned
    assert (planned["take_training"], planned["generate"]) == (1, 1)

    write(project, generation=BEAMS, training={"learning_rate": 1.0e-3})
    planned = project.planned()
    assert planned["train"] == 1 and "take_training" not in planned

    text = f"_base_: tiny_llama.yaml\ngeneration: {json.dumps(BEAMS)}\n"
    project.path("config/models/beams.yaml").write_text(text)
    write(project, models=("tiny_llama", "beams"))
    planned = project.planned()
    assert "train" not in planned
    assert (planned["take_training"], planned["generate"], planned["generate_zero_shot"]) == (
        1,
    ) * 3


@pytest.mark.slow
def test_the_study_reports_both_decodings_of_one_adapter(project):
    write(project, generation=BEAMS)
    project.run()
    adapters = [
        project.results / run / "final_model/adapter_model.safetensors" for run in (TAKEN, TRAINED)
    ]
    assert adapters[0].read_bytes() == adapters[1].read_bytes()
    record, decoded = (
        json.loads((project.results / TAKEN / part).read_text(encoding="utf-8"))
        for part in ("run.json", "predictions/run.json")
    )
    assert record["run"]["variant"] == decoded["run"]["variant"] == "beams"
    assert record["taken_from"].endswith(TRAINED)
    assert decoded["decoding"]["num_beams"] == 2 and decoded["engine"] == "plain"
    with open(project.results / "tables/differences.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["comparison"] == "variant-default"]
    assert rows and {row["variant"] for row in rows} == {"beams"}
    assert project.planned() == {}
