"""A job uses the cores that Snakemake gives it: those of the run, shared by its GPUs."""

import json

import pytest

RUN = "runs/tiny_llama/default/chat/fine_tuned/seed42/run.json"


@pytest.mark.parametrize(("cores", "gpus", "threads"), [("1", "1", 1), ("6", "2", 3)])
def test_the_cores_of_a_training(finished, tmp_path, cores, gpus, threads):
    project = finished.copy(tmp_path / "study")
    project.run(
        f"results/small-debug/{RUN}", "-R", "train", "--cores", cores, "--resources", f"gpu={gpus}"
    )
    record = json.loads((project.results / RUN).read_text(encoding="utf-8"))
    assert record["execution"]["threads"] == threads
