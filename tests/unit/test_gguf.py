"""A real GGUF file through the loader: dequantised once, then NF4 and LoRA like the rest."""

import os
from pathlib import Path

import pytest
import torch
from tiny_models import SIZES, tiny_config, write_checkpoint
from transformers import AutoModelForCausalLM

from yoyak.config.model_config import ModelSettings
from yoyak.errors import UserError
from yoyak.models import lora_loader
from yoyak.models.checkpoints import resolve_checkpoint
from yoyak.models.gguf import plain_checkpoint
from yoyak.models.lora_loader import LoRALoader

gguf = pytest.importorskip("gguf", reason="the optional package gguf is not installed")
PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def gguf_name(name: str) -> str:
    for ours, theirs in {"embed_tokens": "token_embd", "model.norm": "output_norm"}.items():
        name = name.replace(f"model.{ours}" if "embed" in ours else ours, theirs)
    for ours, theirs in PARTS.items():
        name = name.replace(ours, theirs)
    return name.replace("model.layers.", "blk.").replace("lm_head", "output")


def interleaved(weight, heads):
    """GGUF keeps Llama's query and key rows in the order of the original rotary embedding."""
    rows = weight.shape[0] // heads // 2
    return weight.reshape(heads, 2, rows, -1).transpose(1, 2).reshape(weight.shape)


def write_gguf(source: Path, file: Path) -> dict[str, torch.Tensor]:
    """Write the folder's model as GGUF with Q8_0 projections; returns the values it holds."""
    model = AutoModelForCausalLM.from_pretrained(source)
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_block_count(SIZES["num_hidden_layers"])
    writer.add_context_length(SIZES["max_position_embeddings"])
    writer.add_embedding_length(SIZES["hidden_size"])
    writer.add_feed_forward_length(SIZES["intermediate_size"])
    writer.add_head_count(SIZES["num_attention_heads"])
    writer.add_head_count_kv(SIZES["num_key_value_heads"])
    writer.add_rope_dimension_count(SIZES["head_dim"])
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(model.config.rms_norm_eps)
    writer.add_vocab_size(SIZES["vocab_size"])
    letters = [chr(number) for number in range(0x100, 0x100 + SIZES["vocab_size"] - 2)]
    writer.add_tokenizer_model("gpt2")
    letters[-1] = letters[0] + letters[1]
    writer.add_token_list([*letters, "<pad>", "</s>"])
    writer.add_token_types([1] * len(letters) + [3, 3])
    writer.add_token_merges([f"{letters[0]} {letters[1]}"])
    writer.add_eos_token_id(SIZES["vocab_size"] - 1)
    writer.add_bos_token_id(SIZES["vocab_size"] - 1)
    writer.add_pad_token_id(SIZES["vocab_size"] - 2)
    held = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight":  # tied
            continue
        heads = {"q_proj": 4, "k_proj": 2}.get(name.split(".")[-2])
        stored = interleaved(value, heads) if heads else value
        stored = stored.float().numpy()
        if value.dim() == 2 and "embed" not in name:
            kind = gguf.GGMLQuantizationType.Q8_0
            packed = gguf.quants.quantize(stored, kind)
            writer.add_tensor(gguf_name(name), packed, raw_dtype=kind)
            scales = value.reshape(value.shape[0], -1, 32).abs().amax(2) / 127
            held[name] = (value, scales.max().item())
        else:
            writer.add_tensor(gguf_name(name), stored)
            held[name] = (value, 0.0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


@pytest.fixture(scope="module")
def file_and_values(tmp_path_factory):
    source = write_checkpoint(tmp_path_factory.mktemp("plain"), "llama")
    file = tmp_path_factory.mktemp("gguf") / "tiny.Q8_0.gguf"
    return file, write_gguf(source, file)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def model_section(file) -> ModelSettings:
    return ModelSettings(checkpoint=str(file))


def plain(file):
    return plain_checkpoint(resolve_checkpoint(model_section(file)), model_section(file))


def test_the_values_are_the_files_own(file_and_values):
    file, values = file_and_values
    loader = LoRALoader(tiny_config(file, use_qlora=False, chat_template=None))
    model, tokenizer = loader.load_for_generation()
    found = model.state_dict()
    for name, (value, step) in values.items():
        rows = found[name][: len(value)]  # GPT-2's own end token may have been added
        distance = (rows.float() - value.float()).abs().max().item()
        assert distance <= 0.5 * step + 2e-3 * value.abs().max().item(), name
    assert tokenizer.eos_token == "</s>"


def test_it_is_quantised_to_nf4_and_trains(file_and_values):
    from bitsandbytes.nn import Linear4bit

    model, _ = LoRALoader(tiny_config(file_and_values[0])).load_model_and_tokenizer(seed=1)
    four_bit = [part for part in model.modules() if isinstance(part, Linear4bit)]
    assert len(four_bit) == 7 * SIZES["num_hidden_layers"]
    assert all(part.weight.quant_type == "nf4" for part in four_bit)
    assert not hasattr(model.config, "gguf_file")


def test_it_is_converted_once(file_and_values, monkeypatch):
    first = plain(file_and_values[0])
    assert first.kwargs == {} and (Path(first.name) / "model.safetensors").is_file()
    changed = os.stat(Path(first.name) / "model.safetensors").st_mtime_ns
    assert plain(file_and_values[0]) == first
    assert os.stat(Path(first.name) / "model.safetensors").st_mtime_ns == changed
    resolve_checkpoint(model_section(first.name))  # and is a checkpoint like any other


def test_the_fingerprint_is_the_files(file_and_values):
    file, _ = file_and_values
    assert resolve_checkpoint(model_section(file)).weight_files() == [file]


@pytest.mark.parametrize("keep", [4, 100, 5000, -1000])
def test_a_cut_file_is_one_line_and_leaves_nothing(file_and_values, tmp_path, keep):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file_and_values[0].read_bytes()[:keep])
    with pytest.raises(UserError) as caught:
        plain(cut)
    assert "cut.gguf" in str(caught.value) and str(caught.value).isprintable()
    assert "cut short or damaged" in str(caught.value)
    left = [path.name for path in (tmp_path / "cache").rglob("*") if path.is_dir()]
    assert [name for name in left if "cut" in name and not name.startswith(".")] == []


def test_without_the_package_it_says_what_to_install(file_and_values, monkeypatch):
    monkeypatch.setattr("transformers.utils.is_gguf_available", lambda: False)
    with pytest.raises(UserError, match="pip install gguf"):
        plain(file_and_values[0])


def test_shape_is_read_from_the_plain_folder(file_and_values):
    shape = LoRALoader(tiny_config(file_and_values[0])).decoder.shape
    assert (shape.layers, shape.hidden, shape.tied) == (2, 64, True)
    assert lora_loader.plain_checkpoint is plain_checkpoint
