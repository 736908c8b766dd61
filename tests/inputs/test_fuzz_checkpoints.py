"""What is checked of a checkpoint before a model loads: its name, config and index of shards."""

import json
import shutil
from pathlib import Path

import pytest
from fuzzing import fuzz, json_values, mutated, read_or_refused
from hypothesis import strategies as st

from yoyak.config.model_config import ModelSettings
from yoyak.errors import PROJECT_ROOT
from yoyak.models.checkpoints import resolve_checkpoint

MODEL = PROJECT_ROOT / "workflow" / "resources" / "models" / "tiny_llama"
TOKENS = [
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"\n", b"\0", b"\xff", b"null", b"NaN", b"-1"),
    *(b"9" * 5000, b"[" * 3000, b'{"a":', b"../", b"model.safetensors", b"pytorch_model.bin"),
]


@pytest.fixture
def folder(tmp_path):
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        shutil.copy(MODEL / name, tmp_path / name)
    return tmp_path


def resolved(folder):
    return read_or_refused(resolve_checkpoint, ModelSettings(checkpoint=str(folder)))


def test_config_json(folder):
    whole = json.loads((MODEL / "config.json").read_text())

    def check(raw):
        (folder / "config.json").write_bytes(raw)
        found = resolved(folder)
        if found is not None:
            assert isinstance(json.loads(raw), dict)

    values = json_values().map(
        lambda value: json.dumps(
            {**whole, "quantization_config": value, "auto_map": value, "model_type": value}
        ).encode("utf-8", "surrogatepass")
    )
    fuzz(values | mutated([json.dumps(whole).encode()], TOKENS), check, examples=80)


def test_index_of_shards(folder):
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors"}}

    def check(raw):
        (folder / "model.safetensors.index.json").write_bytes(raw)
        if resolved(folder) is not None:
            names = set(json.loads(raw)["weight_map"].values())
            assert names == {"model-1.safetensors"}

    values = json_values().map(
        lambda value: json.dumps({"weight_map": value}).encode("utf-8", "surrogatepass")
    )
    names = st.text(max_size=20).map(
        lambda name: json.dumps({"weight_map": {"a": name}}).encode("utf-8", "surrogatepass")
    )
    known = [
        json.dumps({"weight_map": content}).encode()
        for content in (
            {},
            {"a": "../model-1.safetensors"},
            {"a": "model.bin"},
            {"a": "x\0.safetensors"},
            {"a": "\ud800.safetensors"},
            {"a": "x" * 5000 + ".safetensors"},
            {"a": 5},
            {"9" * 5000: "model-1.safetensors"},
            {"a": "9" * 5000},
            {"a": "가" * 90 + ".safetensors"},
            {"\ud800": "model-1.safetensors"},
        )
    ]
    inputs = values | names | mutated([json.dumps(index).encode()], TOKENS)
    fuzz(inputs, check, known=known, examples=80)


def test_names_of_checkpoints(tmp_path, monkeypatch):
    """A checkpoint's name is looked up and never more: no name breaks that or escapes a package."""
    monkeypatch.chdir(tmp_path)
    parts = (
        "package:",
        "json",
        "/",
        "..",
        "~",
        "\0",
        "a/b",
        ".gguf",
        "\n",
        "$(touch x)",
        "x" * 300,
    )
    names = st.lists(st.sampled_from(parts) | st.text(max_size=5), max_size=6).map("".join)

    def check(name):
        settings = ModelSettings.model_construct(checkpoint=name, revision=None)
        found = read_or_refused(resolve_checkpoint, settings)
        if found is not None and name.startswith("package:"):
            assert "json" in Path(found.name).parts
        assert list(tmp_path.iterdir()) == []

    fuzz(names, check, known=["", "package:", "package:json/..", "~", "/", "."], examples=80)
