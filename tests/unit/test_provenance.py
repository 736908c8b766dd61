"""run.json says where a result came from and nothing secret; the fingerprint follows meaning."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from yoyak.errors import PROJECT_ROOT
from yoyak.run import provenance
from yoyak.run.provenance import fingerprint, git_state, write_run_record
from yoyak.run.workspace import hash_text

SECRETS = {"token", "key", "password", "secret", "credentials"}
SCRIPTS = PROJECT_ROOT / "workflow" / "scripts"


@pytest.fixture
def inputs(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("dev.csv", "train.csv"):
        (folder / name).write_text(name)
    return folder


def record(tmp_path, inputs, **extras) -> dict:
    file = tmp_path / "out" / "run.json"
    write_run_record(file, step="train", settings={"lora": {"r": 4}}, inputs=[inputs], **extras)
    return json.loads(file.read_text(encoding="utf-8"))


def test_the_record_has_every_field(tmp_path, inputs, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell = {"model": "tiny_llama", "format": "chat", "condition": "fine_tuned", "seed": 7}
    found = record(tmp_path, inputs, run=cell, seed=7, wall_seconds=1.5, execution={"threads": 2})
    assert (found["step"], found["seed"], found["run"]) == ("train", 7, cell)
    assert found["settings"] == {"lora": {"r": 4}}
    assert found["execution"] == {"threads": 2} and found["wall_seconds"] == 1.5
    assert found["inputs"] == {
        "data/dev.csv": hash_text("dev.csv"),
        "data/train.csv": hash_text("train.csv"),
    }
    assert len(found["git"]["commit"] or "0" * 40) == 40
    assert {"torch", "transformers", "peft", "bitsandbytes", "numpy"} <= set(found["packages"])
    assert found["hardware"]["cores"] >= 1 and found["hardware"]["memory_gb"] > 0
    assert found["created"].endswith("+00:00")
    assert found["command"].startswith("python ")


def test_equal_names_in_two_places_keep_both_hashes(tmp_path, monkeypatch):
    monkeypatch.chdir(SCRIPTS)
    files = []
    for name in ("base", "adapter"):
        (tmp_path / name).mkdir()
        files.append(tmp_path / name / "config.json")
        files[-1].write_text(name)
    write_run_record(tmp_path / "run.json", step="x", settings={}, inputs=files)
    found = json.loads((tmp_path / "run.json").read_text())["inputs"]
    assert sorted(found.values()) == sorted(map(hash_text, ("base", "adapter")))
    assert str(tmp_path) not in json.dumps(found)


def test_no_secret_of_the_environment_gets_in(tmp_path, inputs, monkeypatch):
    secrets = {
        "HF_TOKEN": "hf_0123456789secret",
        "WANDB_API_KEY": "wandb0123456789secret",
        "AWS_SECRET_ACCESS_KEY": "aws0123456789secret",
        "SOME_PASSWORD": "password0123456789secret",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    text = json.dumps(record(tmp_path, inputs))
    assert "secret" not in text.lower()
    assert not any(name in text for name in secrets)


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_no_script_takes_a_token(script):
    """What a command line says goes into run.json, logs and process lists."""
    text = (SCRIPTS / script).read_text(encoding="utf-8").lower()
    options = [part.split('"')[0] for part in text.split('"--')[1:]]
    assert not [name for name in options if set(re.split("[-_]", name)) & SECRETS]


def test_the_command_can_be_pasted(monkeypatch):
    arguments = [str(SCRIPTS / "train_llm.py"), "--output-dir", "my results; rm -rf $HOME"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert provenance.command_line() == (
        "python workflow/scripts/train_llm.py --output-dir 'my results; rm -rf $HOME'"
    )


# ---- git ----


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A project folder that is not a checkout."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.setattr(provenance, "PROJECT_ROOT", folder)
    return folder


def git(folder: Path, *arguments) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True
    )


def test_outside_git_there_are_nulls(elsewhere):
    assert git_state() == {"commit": None, "dirty": None}


def test_the_repository_around_is_not_ours(elsewhere, tmp_path):
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "-m", "theirs")
    assert git_state() == {"commit": None, "dirty": None}


def test_without_git_there_are_nulls(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_state() == {"commit": None, "dirty": None}


def test_changed_or_new_settings_and_code_are_dirty(elsewhere):
    git(elsewhere, "init")
    (elsewhere / "config").mkdir()
    (elsewhere / "config" / "a.yaml").write_text("1")
    git(elsewhere, "add", "config")
    git(elsewhere, "commit", "-m", "first")
    (elsewhere / "notes.txt").write_text("no part of what is run")
    assert git_state()["dirty"] is False
    (elsewhere / "config" / "new.yaml").write_text("1")
    assert git_state()["dirty"] is True
    (elsewhere / "config" / "new.yaml").unlink()
    (elsewhere / "config" / "a.yaml").write_text("2")
    assert git_state()["dirty"] is True


# ---- fingerprint ----


@pytest.fixture
def task(inputs):
    """The fingerprint's arguments."""
    return {"step": "train", "science": '{"r":4}', "inputs": [inputs]}


def test_equal_parts_give_an_equal_fingerprint(task):
    assert fingerprint(**task) == fingerprint(**task)
    assert len(fingerprint(**task)) == 16


def test_snakemakes_mark_in_a_folder_changes_neither_record_nor_fingerprint(task, tmp_path, inputs):
    before = fingerprint(**task), record(tmp_path, inputs)["inputs"]
    (inputs / ".snakemake_timestamp").touch()
    assert (fingerprint(**task), record(tmp_path, inputs)["inputs"]) == before


def test_every_part_changes_it(task, inputs, monkeypatch):
    seen = {fingerprint(**task)}
    seen.add(fingerprint(**{**task, "science": '{"r":8}'}))
    (inputs / "dev.csv").write_text("changed")
    seen.add(fingerprint(**task))
    seen.add(fingerprint(**{**task, "step": "generate"}))
    versions = {**provenance.package_versions(), "torch": "9.9"}
    monkeypatch.setattr(provenance, "package_versions", lambda: versions)
    seen.add(fingerprint(**task))
    assert len(seen) == 5


def test_execution_is_no_part_of_it(task, monkeypatch):
    before = fingerprint(**task)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setattr(sys, "argv", ["other", "--output-dir", "elsewhere"])
    assert fingerprint(**task) == before
