"""Chat tokens that a checkpoint lacks: added with rows of their own, trained, saved, read again."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import PROJECTIONS, distance, logits, tiny_config, train_a_little

from yoyak.errors import PROJECT_ROOT
from yoyak.models.lora_loader import LoRALoader
from yoyak.models.saving import save_trained

NEW = torch.tensor([[160, 5, 6, 161, 9, 162, 7]])  # the three tokens that chat_template: llama adds


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
    paths = [PROJECT_ROOT / "workflow" / "scripts", PROJECT_ROOT / "tests" / "support"]
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
