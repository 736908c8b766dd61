"""Mistakes as Snakemake shows them: one clear line, a code that is not 0, nothing under results/.

The mistakes that a script finds by itself stand in tests/inputs/mistakes.py.
"""

import re

import pytest
from workflow_project import SMALL

from yoyak.config.study import load_study

TRAIN = "workflow/resources/dialogues/train.csv"
CHAT = "#Person1#: 안녕하세요. <br>#Person2#: 네 안녕하세요."
HEADER = "fname,dialogue,summary,topic"


def study(**changes):
    return lambda project: project.write_study("small", {**SMALL, **changes})


def train_csv(content: str | bytes):
    """Replace the training data."""
    raw = content.encode() if isinstance(content, str) else content
    return lambda project: project.path(TRAIN).write_bytes(raw)


def model_file(text: str):
    return lambda project: project.path("config/models/tiny_llama.yaml").write_text(text)


BASE = "_base_: ../base/causal_lm.yaml\nmodel: {checkpoint: workflow/resources/models/tiny_llama}\n"
RUNS = "results/small-debug/runs"

# name: (change of the project, arguments, what the error line must name)
MISTAKES = {
    "unknown study": (None, ["--config", "study=nope"], ["study 'nope'", "small"]),
    "study that climbs out": (None, ["--config", "study=../x"], ["--config", "study", "letters"]),
    "unknown --config key": (None, ["--config", "studdy=small"], ["studdy", "study"]),
    "debug is no word": (None, ["--config", "study=small", "debug=maybe"], ["debug", "maybe"]),
    "unknown config key": (model_file(BASE + "lora: {rank: 8}\n"), [], ["lora.rank"]),
    "model not in the study": (
        None,
        [f"{RUNS}/nope/default/chat/fine_tuned/x"],
        ["nope", "tiny_llama"],
    ),
    "format not in the study": (None, [f"{RUNS}/tiny_llama/default/poem/x"], ["poem", "chat"]),
    "seed not in the study": (
        None,
        [f"{RUNS}/tiny_llama/default/chat/fine_tuned/seed7/run.json"],
        ["seed7", "seeds 42"],
    ),
    "results of another study": (None, ["results/other/report.html"], ["other", "--config study="]),
    "no data file": (
        study(data={"train": "data/raw/none.csv", "dev": "data/raw/none.csv"}),
        [],
        ["data/raw/none.csv", "put the train split there"],
    ),
    "duplicate fname": (
        train_csv(f"{HEADER}\na,{CHAT},b,c\na,{CHAT}!,b,c\n"),
        [],
        [TRAIN, "line 3", "'a'"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(bare, tmp_path, name):
    change, arguments, words = MISTAKES[name]
    project = bare.copy(tmp_path / "요약 study")
    if change:
        change(project)

    done = project.snakemake(*arguments)

    assert done.returncode != 0, done.stdout
    errors = set(re.findall(r"^error: .+$", done.stdout, flags=re.M))
    assert len(errors) == 1, done.stdout[-3000:]
    error = errors.pop()
    missing = [word for word in words if word not in error]
    assert not missing, error
    assert "Traceback" not in done.stdout
    results = project.path("results")
    assert not [path for path in results.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("name", "debug"),
    [
        *((name, "false") for name in ("embedded_gemma", "korean_dialogsum", "dialogsum_english")),
        ("korean_everyday", "false"),
        *(("embedded", debug) for debug in ("true", "false")),
    ],
)
def test_every_study_is_planned_without_data_or_gpu(bare, name, debug):
    planned = bare.planned("--config", f"study={name}", f"debug={debug}")
    assert planned["prepare_data"] == planned["report"] == 1
    study = load_study(name, debug=debug == "true")
    assert planned["train"] == len(study.trainings()) > 0
    assert planned["generate_zero_shot"] == len(study.models) * len(study.formats)


@pytest.mark.parametrize(
    "chosen, trainings",
    [
        ([], 24 + 8),  # three seeds of the tuned variant, one of the mission's
        (["seeds=[42]"], 16),
        (["variants=[tuned]"], 24),
        (["variants=[mission]", "seeds=[42,43,44]"], 24),
    ],
)
def test_seeds_and_variants_of_the_full_study_can_be_chosen(bare, chosen, trainings):
    planned = bare.planned("--config", "study=korean_dialogsum", *chosen)
    assert planned["train"] == planned["generate"] == planned["model_card"] == trainings
    assert planned["generate_zero_shot"] == 4 and planned["build_dataset"] == 8
