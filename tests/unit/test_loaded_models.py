"""LoRALoader with tiny real models: NF4, adapters, saving and reading again."""

import json
import logging

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from safetensors.torch import load_file
from tiny_models import (
    PROJECTIONS,
    distance,
    load_adapted,
    logits,
    tiny_config,
    train_a_little,
)

from yoyak.errors import UserError
from yoyak.models.lora_loader import LoRALoader, load_lora_model_and_tokenizer
from yoyak.models.nf4 import LoadedAs
from yoyak.models.saving import save_trained

IDS = torch.arange(3, 40).unsqueeze(0)


# ---- the base ----


def test_two_shards_and_untied_heads_are_read(folder):
    shards = list(folder.glob("model-*.safetensors"))
    assert len(shards) in (0, 2)
    model, _ = LoRALoader(tiny_config(folder, use_qlora=False)).load_for_generation()
    tied = model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    assert tied == (not shards)


def test_nf4_and_dequantised_logits_are_equal(folder):
    four_bit, _ = LoRALoader(tiny_config(folder), base_weights="nf4").load_for_generation()
    plain, _ = LoRALoader(tiny_config(folder), base_weights="dequantized").load_for_generation()
    full, _ = LoRALoader(tiny_config(folder, use_qlora=False)).load_for_generation()
    assert sum(isinstance(part, Linear4bit) for part in four_bit.modules()) == 14
    assert not any(isinstance(part, Linear4bit) for part in plain.modules())
    assert distance(logits(four_bit, IDS), logits(plain, IDS)) < 1e-5
    assert distance(logits(full, IDS), logits(plain, IDS)) > 1e-3  # so NF4 did round


def test_double_quantisation_follows_the_config(plain_folder):
    for wanted in (True, False):
        config = tiny_config(plain_folder, double_quant=wanted)
        model, _ = LoRALoader(config).load_for_generation()
        weight = model.model.layers[0].mlp.up_proj.weight
        assert weight.quant_state.nested is wanted
        assert weight.quant_state.dtype == torch.float32


def test_an_evaluation_does_not_spoil_the_gradients(plain_folder):
    """bitsandbytes repacks NF4 weights in an evaluation on an AVX512 CPU, unless told not to."""
    model = load_adapted(plain_folder, attention="sdpa")

    def gradients():
        model.train()
        model(input_ids=IDS, labels=IDS).loss.backward()
        found = torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad])
        model.zero_grad()
        return found

    before = gradients()
    logits(model, IDS)
    assert torch.equal(before, gradients())


# ---- adapters ----


def test_adapters_sit_where_the_config_says(plain_folder):
    model, tokenizer = load_lora_model_and_tokenizer(
        tiny_config(plain_folder, dropout=0.05, chat_template=None)
    )
    trainable = [name for name, part in model.named_parameters() if part.requires_grad]
    assert len(trainable) == 2 * 2 * len(PROJECTIONS)
    assert all("lora_" in name and part.dtype == torch.float32 for name, part in
               ((name, model.get_parameter(name)) for name in trainable))  # fmt: skip
    lora = model.peft_config["default"]
    assert (lora.r, lora.lora_alpha, lora.lora_dropout) == (4, 8, 0.05)
    assert (tokenizer.padding_side, tokenizer.truncation_side) == ("left", "left")


def test_arguments_win_over_the_config_and_none_leaves_it_to_it(plain_folder, caplog):
    config, logger = tiny_config(plain_folder, chat_template=None), logging.getLogger("mine")
    caplog.set_level(logging.INFO, "mine")
    loader = LoRALoader(config, logger)
    model, _ = loader.load_model_and_tokenizer(use_lora=True, use_qlora=False)
    assert hasattr(model, "peft_config") and not getattr(model, "is_loaded_in_4bit", False)
    assert not model.loaded_as.lora.use_qlora and config.lora.use_qlora
    assert any("adapters on" in record.message for record in caplog.records)
    whole, _ = load_lora_model_and_tokenizer(config, use_lora=False, device="cpu")
    assert all(part.requires_grad for part in whole.parameters())
    four_bit, _ = load_lora_model_and_tokenizer(config, device="cpu")
    assert four_bit.loaded_as == LoadedAs(config.lora, "dequantized", torch.float32)
    with pytest.raises(UserError, match="lora.use_qlora needs lora.use_lora"):
        load_lora_model_and_tokenizer(config, use_lora=False, use_qlora=True)
    with pytest.raises(UserError, match="'cuda:77': this process sees no such GPU"):
        load_lora_model_and_tokenizer(config, device="cuda:77")


def test_the_seed_decides_the_adapters(plain_folder):
    def start(seed):
        model, _ = LoRALoader(tiny_config(plain_folder)).load_model_and_tokenizer(seed=seed)
        return torch.cat([p.flatten() for p in model.parameters() if p.requires_grad])

    one = start(1)
    torch.rand(7)
    assert torch.equal(one, start(1)) and not torch.equal(one, start(2))


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj"], ["self_attn.v_proj"]])
def test_targets_that_exist(plain_folder, targets):
    config = tiny_config(plain_folder, chat_template=None)
    config.lora.target_modules = targets
    model, _ = LoRALoader(config).load_model_and_tokenizer(seed=1)
    adapted = {name.split(".lora_")[0].split(".")[-1] for name, part in model.named_parameters()
               if part.requires_grad}  # fmt: skip
    assert adapted == (set(PROJECTIONS) if targets == "all-linear" else {targets[0][-6:]})


@pytest.mark.parametrize("targets", [["query_key_value"], ["q_proj", "c_attn"], ["lm_head"], ["j"]])
def test_targets_that_do_not_exist_list_those_that_do(plain_folder, targets):
    config = tiny_config(plain_folder)
    config.lora.target_modules = targets
    with pytest.raises(UserError) as caught:
        LoRALoader(config).load_model_and_tokenizer(seed=1)
    text = str(caught.value)
    assert text.isprintable() and f"'{targets[-1]}'" in text
    assert all(name in text for name in (*PROJECTIONS, "write auto"))


def test_merged_and_unmerged_are_equal(folder, tmp_path):
    model = load_adapted(folder)
    expected = logits(model, IDS)
    config = tiny_config(folder)
    save_trained(model, LoRALoader(config).load_tokenizer(), tmp_path)
    merged, _ = LoRALoader(config, base_weights="dequantized").load_for_generation(tmp_path)
    beside, _ = LoRALoader(config, base_weights="nf4").load_for_generation(tmp_path)
    assert not hasattr(merged, "peft_config") and hasattr(beside, "peft_config")
    assert distance(logits(merged, IDS), expected) < 1e-5
    assert distance(logits(beside, IDS), expected) < 1e-5
    base, _ = LoRALoader(config).load_for_generation()
    assert distance(logits(base, IDS), expected) > 1e-2


def test_without_4_bits_the_adapter_merges_into_the_full_base(folder, tmp_path):
    config = tiny_config(folder, use_qlora=False)
    model, tokenizer = LoRALoader(config).load_model_and_tokenizer(seed=1)
    assert not any(isinstance(part, Linear4bit) for part in model.modules())
    train_a_little(model, IDS)
    expected = logits(model, IDS)
    save_trained(model, tokenizer, tmp_path)
    merged, _ = LoRALoader(config).load_for_generation(tmp_path)
    assert distance(logits(merged, IDS), expected) < 1e-5


def test_without_lora_every_weight_trains_and_is_saved(folder, tmp_path):
    config = tiny_config(folder, use_lora=False, use_qlora=False)
    model, tokenizer = LoRALoader(config).load_model_and_tokenizer(seed=1)
    assert all(part.requires_grad for part in model.parameters())
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(2)
    expected = logits(model, IDS)
    save_trained(model, tokenizer, tmp_path)
    again, _ = LoRALoader(config).load_for_generation(tmp_path)
    assert torch.equal(logits(again, IDS), expected)


# ---- a broken adapter ----


@pytest.fixture
def adapter(plain_folder, tmp_path):
    model, tokenizer = LoRALoader(tiny_config(plain_folder)).load_model_and_tokenizer(seed=1)
    save_trained(model, tokenizer, tmp_path / "adapter")
    return tmp_path / "adapter"


def cut(folder):
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:500])


def pickled(folder):
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()


def without_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{")


def of_another_shape(folder):
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "r": 8}))


def broken_config(folder):
    (folder / "adapter_config.json").write_text("{")


def empty(folder):
    for file in folder.iterdir():
        file.unlink()


@pytest.mark.parametrize(
    "damage, words",
    [
        (cut, "is damaged or belongs to another model"),
        (pickled, "has no adapter_model.safetensors"),
        (without_tokenizer, "its tokenizer cannot be read"),
        (of_another_shape, "is damaged or belongs to another model"),
        (broken_config, "is damaged or belongs to another model"),
        (empty, "holds neither an adapter nor a model"),
    ],
)
def test_a_broken_adapter_is_one_line(plain_folder, adapter, damage, words):
    damage(adapter)
    with pytest.raises(UserError, match=words) as caught:
        LoRALoader(tiny_config(plain_folder)).load_for_generation(adapter)
    assert str(caught.value).isprintable() and str(adapter) in str(caught.value)
