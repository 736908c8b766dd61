"""What is checked of a checkpoint before a model loads: config, index of shards, headers."""

import json
import shutil
import struct
from pathlib import Path

import pytest
from fuzzing import fuzz, json_values, mutated, read_or_refused
from hypothesis import strategies as st

from yoyak.config.model_config import ModelSettings
from yoyak.errors import PROJECT_ROOT, UserError
from yoyak.models.checkpoints import resolve_checkpoint
from yoyak.models.weight_files import GGUF_BLOCKS, check_gguf

MODEL = PROJECT_ROOT / "workflow" / "resources" / "models" / "tiny_llama"
TOKENS = [
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"\n", b"\0", b"\xff", b"null", b"NaN", b"-1"),
    *(b"9" * 5000, b"[" * 3000, b'{"a":', b"../", b"model.safetensors", b"pytorch_model.bin"),
    *(b'"__metadata__"', b'"dtype"', b'"F32"', b'"shape"', b'"data_offsets"', b"PK\x03\x04"),
    *(b"\x80\x04\x95", b"GGUF", b"\xff" * 8, b"\0" * 8, b"\x01\0\0\0", b"\x09\0\0\0", b"\x08"),
]


def safetensors(header: object, body: bytes = b"\0" * 16) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


HEADER = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]},
    "b": {"dtype": "F16", "shape": [4], "data_offsets": [8, 16]},
}


def gguf(settings=(), tensors=(), data=b"\0" * 64, version=3) -> bytes:
    """A small file: settings (name, type, packed value), tensors (name, shape, type, offset)."""

    def text(value: str) -> bytes:
        raw = value.encode()
        return struct.pack("<Q", len(raw)) + raw

    raw = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(settings))
    for name, kind, value in settings:
        raw += text(name) + struct.pack("<I", kind) + value
    for name, shape, kind, offset in tensors:
        raw += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        raw += struct.pack("<IQ", kind, offset)
    return raw + b"\0" * (-len(raw) % 32) + data


GGUF = gguf(
    [
        ("general.alignment", 4, struct.pack("<I", 32)),
        ("general.name", 8, struct.pack("<Q", 2) + b"ab"),
        ("tokens", 9, struct.pack("<IQ", 8, 2) + (struct.pack("<Q", 1) + b"x") * 2),
        ("scores", 9, struct.pack("<IQff", 6, 2, 0.5, 1.5)),
        ("nested", 9, struct.pack("<IQIQ", 9, 1, 0, 1) + b"\x01"),
    ],
    [("a", (8,), 0, 0), ("b", (32,), 8, 32)],
    data=b"\0" * 66,
)


@pytest.fixture
def folder(tmp_path):
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(MODEL / name, tmp_path / name)
    (tmp_path / "model.safetensors").write_bytes(safetensors(HEADER))
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


def test_safetensors_headers(folder):
    samples = [safetensors(HEADER), (MODEL / "model.safetensors").read_bytes()[:4000]]
    values = st.tuples(json_values(), st.binary(max_size=40)).map(
        lambda drawn: safetensors({**HEADER, "a": drawn[0]}, drawn[1])
    )

    def check(raw):
        (folder / "model.safetensors").write_bytes(raw)
        resolved(folder)

    known = [safetensors(b"[" * 100_000), b"", b"PK\x03\x04" + b"\0" * 100, b"\x80\x04\x95"]
    known += [struct.pack("<Q", size) + b"{}" for size in (2, 0, 2**63, 2**64 - 1, 10**8)]
    fuzz(values | mutated(samples, TOKENS), check, known=known, examples=80)


def test_gguf_headers(tmp_path):
    file = tmp_path / "model.gguf"

    def check(raw):
        file.write_bytes(raw)
        read_or_refused(check_gguf, file, "model.checkpoint 'model.gguf'")

    huge = [
        GGUF[:8] + struct.pack("<QQ", tensors, settings) + GGUF[24:]
        for tensors, settings in ((2**64 - 1, 0), (0, 2**64 - 1), (2**64 - 1, 2**64 - 1))
    ]
    deep = struct.pack("<IQ", 9, 1) * 100_000
    known = [*huge, GGUF[:8], b"GGUF", b"", gguf([("deep", 9, deep)]), gguf(version=99)]
    known += [
        gguf(tensors=[("a", (2**63, 2**63), 0, 2**63)]),
        gguf(tensors=[("a", (1,) * 9, 0, 0)]),
    ]
    known += [gguf([("x", 9, struct.pack("<IQ", inner, 2**64 - 1))]) for inner in (0, 8, 9, 12)]
    known += [gguf([("general.alignment", 4, struct.pack("<I", size))]) for size in (0, 3, 2**31)]
    fuzz(mutated([GGUF], TOKENS), check, known=known)


def test_a_gguf_file_cut_anywhere_is_refused(tmp_path):
    file = tmp_path / "model.gguf"
    file.write_bytes(GGUF)
    check_gguf(file, "here")
    for end in range(len(GGUF)):
        file.write_bytes(GGUF[:end])
        with pytest.raises(UserError, match=r"^here: .*fetch it again$"):
            check_gguf(file, "here")


def test_the_sizes_of_gguf_blocks_are_those_of_the_package():
    constants = pytest.importorskip("gguf.constants", reason="the package gguf is not installed")
    for kind, size in GGUF_BLOCKS.items():
        assert constants.GGML_QUANT_SIZES[constants.GGMLQuantizationType(kind)] == size


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
