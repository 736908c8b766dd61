"""Any decoder: what a checkpoint holds, its shape from its config, which projections adapt."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import (
    PROJECTIONS,
    VOCABULARY,
    adapters,
    save_checkpoint,
    tiny_config,
    write_checkpoint,
    write_other,
)
from transformers import AutoConfig, AutoModelForImageTextToText, BertConfig, BertForMaskedLM

from yoyak.errors import UserError
from yoyak.models.architecture import find_targets
from yoyak.models.lora_loader import LoRALoader
from yoyak.models.saving import adapted_modules, save_trained
from yoyak.models.shapes import read_shape
from yoyak.run.memory import ModelShape

IDS = torch.arange(3, 40).unsqueeze(0)
WIDTH = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = {**WIDTH, "intermediate_size": 128, "num_key_value_heads": 2}
OLD = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}
MIXTURE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 16}
ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
OPT = {"ffn_dim": 128, "word_embed_proj_dim": 64, "max_position_embeddings": 256}
HYBRID = {"layer_types": ["mamba", "attention"], "mamba_n_heads": 8, "mamba_d_state": 8}
# Of each kind: its config, and the names that `auto` stands for.
KINDS = {
    "gpt_neox": (LLAMA, {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}),
    "gpt2": (OLD, {"c_attn", "c_proj", "c_fc"}),
    "phi3": (LLAMA, {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}),
    "opt": ({**WIDTH, **OPT}, {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"}),
    "mixtral": ({**LLAMA, "num_local_experts": 4}, ATTENTION),
    "qwen3_moe": ({**LLAMA, **MIXTURE}, ATTENTION),
    "qwen2_moe": (
        {**LLAMA, **MIXTURE, "shared_expert_intermediate_size": 64},
        set(PROJECTIONS),  # the shared expert has the three of the MLP
    ),
    "gemma3_text": ({**LLAMA, "head_dim": 16}, set(PROJECTIONS)),
    "granitemoehybrid": (
        {**LLAMA, **HYBRID, "num_local_experts": 4, "shared_intermediate_size": 64},
        {*ATTENTION, "in_proj", "input_linear", "output_linear"},
    ),
    "gemma3n_text": (
        {
            **{**LLAMA, "intermediate_size": [128, 128], "layer_types": ["full_attention"] * 2},
            **{"vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 8},
            **{"head_dim": 16, "num_kv_shared_layers": 0, "laurel_rank": 4},
            "activation_sparsity_pattern": [0.0, 0.0],
        },
        set(PROJECTIONS),
    ),
    "mamba": ({"hidden_size": 64, "num_hidden_layers": 2}, {"in_proj"}),
}


def auto(folder, **model) -> dict:
    config = tiny_config(folder, chat_template=None, **model)
    config.lora.target_modules = "auto"
    return config


def logits(model) -> torch.Tensor:
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    plain.set_attn_implementation("eager")
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def distance(found, expected) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


def adapted(config):
    """A model whose adapters are random: fresh ones are zero."""
    model, tokenizer = LoRALoader(config).load_model_and_tokenizer(seed=1)
    model.get_base_model().set_attn_implementation("eager")
    with torch.no_grad():
        for _, part in sorted(adapters(model).items()):
            part.normal_(std=0.05)
    return model, tokenizer


# ---- projections ----


@pytest.mark.parametrize("kind", list(KINDS))
def test_auto_finds_the_projections_and_every_adapter_learns(kind, tmp_path):
    settings, names = KINDS[kind]
    config = auto(write_other(tmp_path, kind, **settings))
    model, tokenizer = adapted(config)
    assert set(adapted_modules(model)) == names
    layers = {name.split(".lora_")[0] for name in adapters(model)}
    assert all("lm_head" not in name and "router" not in name for name in layers)
    model.train()(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
    assert all(part.grad is not None and part.grad.any() for part in adapters(model).values())
    expected = logits(model)
    save_trained(model, tokenizer, tmp_path / "adapter")
    merged, _ = LoRALoader(config).load_for_generation(tmp_path / "adapter")
    assert distance(logits(merged), expected) < 1e-4


def test_auto_is_the_seven_names_of_a_llama_to_the_byte(tmp_path):
    folder = write_checkpoint(tmp_path / "llama", "llama")
    for targets in ("auto", sorted(PROJECTIONS)):
        config = auto(folder)
        config.lora.target_modules = targets
        model, tokenizer = LoRALoader(config).load_model_and_tokenizer(seed=1)
        save_trained(model, tokenizer, tmp_path / str(len(targets)))
    first, second = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in "47"
    )
    assert first == second and "adapter_config.json" in first


def test_a_list_that_a_model_lacks_in_part_is_known_before_its_weights_load(tmp_path):
    config = auto(write_other(tmp_path, "gpt_neox", **LLAMA))
    config.lora.target_modules = ["dense", "q_proj"]
    with pytest.raises(UserError) as caught:
        LoRALoader(config).target_modules()  # loads none
    text = str(caught.value)
    assert "'q_proj'" in text and "write auto" in text and "query_key_value" in text


def test_names_outside_the_decoder_layers_are_not_meant():
    """A tower beside the layers has a projection of the same name: the target says which."""
    layer = torch.nn.ModuleDict({"mlp": torch.nn.ModuleDict({"fc1": torch.nn.Linear(8, 8)})})
    model = torch.nn.Module()
    model.layers = torch.nn.ModuleList([layer, layer])
    model.tower = torch.nn.ModuleDict({"fc1": torch.nn.Linear(2, 2)})
    model.config = SimpleNamespace(model_type="made_up")
    assert find_targets(model) == ["mlp.fc1"]


def test_what_cannot_be_held_in_four_bits_is_refused_before_it_loads(tmp_path):
    folder = write_other(tmp_path, "falcon", **WIDTH)
    with pytest.raises(UserError, match="no weight of a falcon .* set lora.use_qlora: false"):
        LoRALoader(auto(folder)).load_model_and_tokenizer(seed=1)


# ---- what a checkpoint holds ----


def write_multimodal(folder, kind: str):
    """A tiny model of text and pictures: (folder, the whole model)."""
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    vision |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    text = {**LLAMA, "head_dim": 16, "vocab_size": VOCABULARY}
    parts = {
        "gemma3": ("gemma3_text", "siglip_vision_model", {"mm_tokens_per_image": 4}),
        "llava": ("llama", "clip_vision_model", {"image_token_index": 3}),
        "qwen2_5_vl": ("qwen2_5_vl_text", "qwen2_5_vl_vision", {}),
    }
    language, sight, others = parts[kind]
    torch.manual_seed(1)
    config = AutoConfig.for_model(
        kind,
        text_config={"model_type": language, **text},
        vision_config={"model_type": sight, "depth": 1, "out_hidden_size": 64, **vision},
        **others,
    )
    model = AutoModelForImageTextToText.from_config(config)
    return save_checkpoint(model, folder), model


@pytest.mark.parametrize("kind", ["gemma3", "llava"])
def test_the_text_model_of_a_multimodal_checkpoint_is_the_whole_one_on_text(kind, tmp_path):
    folder, whole = write_multimodal(tmp_path / kind, kind)
    config = auto(folder, use_qlora=False)
    text, _ = LoRALoader(config).load_for_generation()
    assert torch.equal(logits(text), logits(whole))
    assert not any("vision" in name for name, _ in text.named_parameters())
    model, tokenizer = adapted(config)
    assert set(adapted_modules(model)) == set(PROJECTIONS) and len(adapters(model)) == 2 * 2 * 7
    save_trained(model, tokenizer, tmp_path / "adapter")
    merged, _ = LoRALoader(config).load_for_generation(tmp_path / "adapter")
    assert distance(logits(merged), logits(model)) < 1e-5
    merged.save_pretrained(tmp_path / "merged")  # a text model of its own, by its own names
    assert "model.norm.weight" in load_file(tmp_path / "merged/model.safetensors")


def encoder(folder):
    sizes = {**WIDTH, "intermediate_size": 128, "vocab_size": VOCABULARY}
    return save_checkpoint(BertForMaskedLM(BertConfig(**sizes)), folder)


def encoder_decoder(folder):
    return changed(write_checkpoint(folder, "llama"), model_type="t5")


def pictures(folder):
    return changed(write_checkpoint(folder, "llama"), model_type="vit")


def sound(folder):
    return changed(write_checkpoint(folder, "llama"), model_type="whisper")


def embedding(folder):
    return write_other(folder, "gemma3_text", use_bidirectional_attention=True, **LLAMA)


def text_and_pictures(folder):
    return write_multimodal(folder, "qwen2_5_vl")[0]


def changed(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))
    return folder


@pytest.mark.parametrize(
    "write, words",
    [
        (encoder, "an encoder"),
        (embedding, "an encoder"),
        (encoder_decoder, "an encoder-decoder"),
        (sound, "an encoder-decoder"),
        (pictures, "choose one that generates text"),
        (text_and_pictures, "choose a text-only checkpoint"),
    ],
)
def test_what_is_no_decoder_is_refused_from_its_config(write, words, tmp_path):
    folder = write(tmp_path)
    with pytest.raises(UserError) as caught:
        LoRALoader(tiny_config(folder)).decoder  # noqa: B018
    assert "is not a causal language model" in str(caught.value) and words in str(caught.value)


# ---- shapes ----


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_shape_comes_from_any_config_and_is_on_the_large_side(kind, tmp_path):
    settings, _ = KINDS[kind]
    loader = LoRALoader(auto(write_other(tmp_path, kind, **settings)))
    true = sum(weight.numel() for weight in loader.decoder.empty.parameters())
    shape = loader.decoder.shape
    assert 0.98 * true <= shape.parameters < 2 * true
    assert not shape.fusable
    raw = read_shape(tmp_path / "config.json")  # without torch: no modules to count
    assert raw is not None and raw.parameters > 0.7 * true


@pytest.mark.parametrize(
    "values",
    [
        {"attention_dropout": 0.1},
        {"hidden_act": "gelu"},
        {"model_type": "phi3"},
    ],
)
def test_only_layers_like_llamas_are_fused(values):
    plain = {**LLAMA, "vocab_size": 9, "model_type": "llama", "hidden_act": "silu"}
    assert ModelShape.from_config(SimpleNamespace(**plain)).fusable
    assert not ModelShape.from_config(SimpleNamespace(**{**plain, **values})).fusable


def test_a_shape_of_parts_is_that_of_the_text_and_one_of_nothing_is_refused(tmp_path):
    whole = {"model_type": "gemma3", "text_config": {**LLAMA, "vocab_size": 9}}
    (tmp_path / "config.json").write_text(json.dumps(whole))
    assert read_shape(tmp_path / "config.json").hidden == 64
    with pytest.raises(UserError, match="lacks the number of layers"):
        ModelShape.from_config(SimpleNamespace(hidden_size=64))
