"""LoRALoader with tiny real models: NF4, adapters, added tokens, saving and reading again."""

import json
import logging
import os
import subprocess
import sys
import textwrap

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from safetensors.torch import load_file
from tiny_models import PROJECTIONS, load_adapted, tiny_config, write_checkpoint

from yoyak.errors import PROJECT_ROOT, UserError
from yoyak.models.lora_loader import LoRALoader, load_lora_model_and_tokenizer
from yoyak.models.nf4 import LoadedAs
from yoyak.models.saving import save_trained

IDS = torch.arange(3, 40).unsqueeze(0)
NEW = torch.tensor([[160, 5, 6, 161, 9, 162, 7]])  # the three tokens that chat_template: llama adds


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Checkpoints with tied embeddings, and with untied ones in two shards."""
    place = tmp_path_factory.mktemp("checkpoints")
    return {
        "tied": write_checkpoint(place / "tied", "llama"),
        "untied": write_checkpoint(
            place / "untied", "llama", shard="300KB", tie_word_embeddings=False
        ),
    }


@pytest.fixture(scope="module", params=["tied", "untied"])
def folder(request, folders):
    return folders[request.param]


@pytest.fixture(scope="module")
def plain_folder(folders):
    return folders["tied"]


def logits(model, ids=IDS) -> torch.Tensor:
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        return model.eval()(ids).logits


def distance(found, expected) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


def train_a_little(model, ids) -> None:
    """A few real steps, so that every trainable part has moved away from its start."""
    model.get_base_model().set_attn_implementation("sdpa")
    parts = [part for part in model.parameters() if part.requires_grad]
    optimizer = torch.optim.AdamW(parts, lr=1e-2, weight_decay=0.0)
    for _ in range(3):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


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
    assert distance(logits(four_bit), logits(plain)) < 1e-5
    assert distance(logits(full), logits(plain)) > 1e-3  # so NF4 did round


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
    logits(model)
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
    expected = logits(model)
    config = tiny_config(folder)
    save_trained(model, LoRALoader(config).load_tokenizer(), tmp_path)
    merged, _ = LoRALoader(config, base_weights="dequantized").load_for_generation(tmp_path)
    beside, _ = LoRALoader(config, base_weights="nf4").load_for_generation(tmp_path)
    assert not hasattr(merged, "peft_config") and hasattr(beside, "peft_config")
    assert distance(logits(merged), expected) < 1e-5
    assert distance(logits(beside), expected) < 1e-5
    base, _ = LoRALoader(config).load_for_generation()
    assert distance(logits(base), expected) > 1e-2


def test_without_4_bits_the_adapter_merges_into_the_full_base(folder, tmp_path):
    config = tiny_config(folder, use_qlora=False)
    model, tokenizer = LoRALoader(config).load_model_and_tokenizer(seed=1)
    assert not any(isinstance(part, Linear4bit) for part in model.modules())
    train_a_little(model, IDS)
    expected = logits(model)
    save_trained(model, tokenizer, tmp_path)
    merged, _ = LoRALoader(config).load_for_generation(tmp_path)
    assert distance(logits(merged), expected) < 1e-5


def test_without_lora_every_weight_trains_and_is_saved(folder, tmp_path):
    config = tiny_config(folder, use_lora=False, use_qlora=False)
    model, tokenizer = LoRALoader(config).load_model_and_tokenizer(seed=1)
    assert all(part.requires_grad for part in model.parameters())
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(2)
    expected = logits(model)
    save_trained(model, tokenizer, tmp_path)
    again, _ = LoRALoader(config).load_for_generation(tmp_path)
    assert torch.equal(logits(again), expected)


# ---- added chat tokens ----


def test_only_lacking_tokens_are_added_and_rows_are_the_same_in_every_run(folder):
    def load():
        loader = LoRALoader(tiny_config(folder, chat_template="llama", use_qlora=False))
        torch.rand(3)
        model, tokenizer = loader.load_for_generation()
        return loader, model, tokenizer

    loader, model, tokenizer = load()
    assert loader.new_token_ids == [160, 161, 162]
    assert tokenizer.convert_ids_to_tokens(160) == "<|start_header_id|>"
    assert model.get_input_embeddings().num_embeddings == 163 == model.config.vocab_size
    assert torch.equal(logits(model, NEW), logits(load()[1], NEW))  # zero-shot, never trained


NEW_PROCESS = """
    import json, sys, torch
    from tiny_models import tiny_config
    from yoyak.models.lora_loader import LoRALoader
    from yoyak.models.saving import save_trained
    place, folders = sys.argv[1], json.loads(sys.argv[2])
    torch.rand(11)
    for name, base_weights in (("tied", "dequantized"), ("untied", "nf4")):
        config = tiny_config(folders[name], chat_template="llama")
        loader = LoRALoader(config, base_weights=base_weights)
        model, tokenizer = loader.load_for_generation(f"{place}/{name}")
        ids = tokenizer.convert_tokens_to_ids(["<|start_header_id|>", "<|eot_id|>"])
        with torch.no_grad():
            logits = model(torch.tensor([[160, 5, 6, 161, 9, 162, 7]])).logits
        torch.save({"logits": logits, "ids": ids, "template": tokenizer.chat_template},
                   f"{place}/{name}.pt")
    config = tiny_config(folders["tied"], chat_template="llama")
    save_trained(*LoRALoader(config).load_model_and_tokenizer(seed=3), f"{place}/fresh_there")
"""


@pytest.fixture(scope="module")
def new_process(folders, tmp_path_factory):
    """Adapters trained here, read by another process (one for all, since its start is slow).

    Returns the folder: {name}/ the adapter, {name}.pt what the process found, {name}.expected.pt,
    and the same fresh adapter saved here and there.
    """
    place = tmp_path_factory.mktemp("process")
    for name, folder in folders.items():
        loader = LoRALoader(tiny_config(folder, chat_template="llama"), base_weights="dequantized")
        model, tokenizer = loader.load_model_and_tokenizer(seed=1)
        train_a_little(model, NEW)
        torch.save(logits(model, NEW), place / f"{name}.expected.pt")
        save_trained(model, tokenizer, place / name)
    config = tiny_config(folders["tied"], chat_template="llama")
    save_trained(*LoRALoader(config).load_model_and_tokenizer(seed=3), place / "fresh_here")
    paths = [PROJECT_ROOT / "workflow" / "scripts", PROJECT_ROOT / "tests"]
    other = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(NEW_PROCESS), str(place),
         json.dumps({name: str(folder) for name, folder in folders.items()})],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONHASHSEED": other},
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return place


@pytest.mark.parametrize("name", ["tied", "untied"])
def test_a_new_process_reads_the_same_model(new_process, name):
    found = torch.load(new_process / f"{name}.pt", weights_only=True)
    expected = torch.load(new_process / f"{name}.expected.pt", weights_only=True)
    assert found["ids"] == [160, 162] and "<|eot_id|>" in found["template"]
    assert distance(found["logits"], expected) < 1e-5
    saved = load_file(new_process / name / "adapter_model.safetensors")
    assert max(len(part) for key, part in saved.items() if "token" in key) == 3  # rows only


def test_saving_is_byte_stable_under_any_hash_seed(new_process, plain_folder):
    here, there = (
        {file.name: file.read_bytes() for file in (new_process / name).iterdir()}
        for name in ("fresh_here", "fresh_there")
    )
    assert here == there and "adapter_config.json" in here
    config = json.loads(here["adapter_config.json"])
    assert config["target_modules"] == sorted(PROJECTIONS)
    assert config["base_model_name_or_path"] == str(plain_folder)


def test_added_rows_train_and_the_others_stay(folder):
    model, _ = LoRALoader(tiny_config(folder, chat_template="llama")).load_model_and_tokenizer(
        seed=1
    )
    rows = {n: p for n, p in model.named_parameters() if p.requires_grad and "token" in n}
    before = {name: part.detach().clone() for name, part in rows.items()}
    old_rows = model.get_input_embeddings().weight[:160].detach().clone()
    assert len(rows) == (1 if model.config.tie_word_embeddings else 2)
    train_a_little(model, NEW)
    assert all(not torch.equal(part, before[name]) for name, part in rows.items())
    assert torch.equal(model.get_input_embeddings().weight[:160], old_rows)


def test_packed_loss_sees_the_added_rows(folder):
    """The training engine runs the head on its own: it must be the head with the new rows."""
    from yoyak.data.packing import pack_batch
    from yoyak.training.loss import batch_loss

    loader = LoRALoader(tiny_config(folder, chat_template="llama"))
    model, _ = loader.load_model_and_tokenizer(seed=1)
    model.train()
    labels = NEW[0].clone()
    labels[:2] = -100
    rows = [{"input_ids": NEW[0], "labels": labels}]
    (pack,) = pack_batch(rows, [0], 64)
    loss = batch_loss(model, pack) / len(pack.targets)
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    model.get_base_model().set_attn_implementation("sdpa")
    expected = model(input_ids=NEW, labels=labels.unsqueeze(0)).loss
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, part in model.named_parameters():
        if part.requires_grad and "token" in name:
            assert part.grad.abs().sum() > 0
            assert distance(gradients[name], part.grad) < 1e-4, name


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
