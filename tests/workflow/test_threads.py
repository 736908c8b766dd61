"""A job uses the cores that Snakemake gives it: those of the run, shared by what runs beside it."""

import json

RUN = "runs/tiny_llama/default/chat/fine_tuned/seed42/run.json"


def test_the_cores_of_a_training(finished, tmp_path):
    project = finished.copy(tmp_path / "study")
    project.forget("runs/tiny_llama/default/chat/fine_tuned")
    project.run(f"results/small-debug/{RUN}", "--cores", "6", "--resources", "gpu=2")
    record = json.loads((project.results / RUN).read_text(encoding="utf-8"))
    assert record["execution"]["threads"] == 3
    # Without a GPU two trainings run side by side on two cores.
    records = finished.results.glob("runs/**/seed42/run.json")
    assert {json.loads(file.read_text())["execution"]["threads"] for file in records} == {1}
