"""Snakemake's own unit tests of every rule, generated from the default study, pass without a GPU.

Each runs one job in an empty folder that holds the job's declared inputs alone, so that it shows
that all that is read is declared; and the outputs are the study's, byte for byte, but for what a
clock or a machine says.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from workflow_project import Project, environment

# What is left out of the comparison: times, speed, memory, host; and what shows these.
COMPARE = """
import json
import re
from pathlib import Path

CLOCKS = {"created", "wall_seconds", "generation_seconds", "tokens_per_second", "peak_memory_gb",
          "hardware", "command", "packages", "git", "train_runtime", "engine_checks",
          "engine_check", "execution", "inputs", "resumed_from_step"}
TIMED = {"tables/resources", "plots/cost", "plots/captions", "report.html"}


def without_clocks(path):
    text = path.read_text(encoding="utf-8")
    if path.name == "run.json":
        record = json.loads(text)
        return {key: value for key, value in record.items() if key not in CLOCKS}
    if path.name == "training_log.csv":
        return [line.split(",")[:4] for line in text.splitlines()]
    if path.name == "README.md":
        return re.sub(r"Made by.*?```.*?```|\\| packages.*|\\| commit.*", "", text, flags=re.S)
    return text


class OutputChecker(OutputChecker):
    def compare_files(self, expected_file, generated_file, cmp_cmds):
        if any(name in str(expected_file) for name in TIMED):
            return
        if expected_file.suffix in (".json", ".csv", ".md"):
            assert without_clocks(expected_file) == without_clocks(generated_file), expected_file
        elif expected_file.name != ".snakemake_timestamp" and expected_file.suffix != ".png":
            super().compare_files(expected_file, generated_file, cmp_cmds)
"""


@pytest.mark.slow
def test_every_rule_passes_the_test_that_snakemake_writes_for_it(tmp_path):
    project = Project.fresh(tmp_path / "study")
    embedded = ("--config", "study=embedded")
    one_core = ("--cores", "1", "--resources", "gpu=1")  # as the generated tests have it
    project.run(*one_core, *embedded)
    project.run("--generate-unit-tests", ".tests/unit", *embedded)
    folder = project.path(".tests/unit")
    with open(folder / "common.py", "a", encoding="utf-8") as common:
        common.write(COMPARE)
    rules = {file.stem.removeprefix("test_") for file in folder.glob("test_*.py")}
    assert rules == {
        *("prepare_data", "build_dataset", "train", "generate_zero_shot", "generate", "score"),
        *("generate_few_shot", "floors", "submission", "compare", "plot", "report", "model_card"),
    }
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # they call `python`
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(folder)], cwd=project.folder,
        env={**environment(), "PATH": paths}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
