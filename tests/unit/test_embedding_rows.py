"""Tokens beyond the embedding's rows: given rows, trained, saved with the adapter, and said so."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import SIZES, VOCABULARY, changed, tiny_config, write_checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer, GPTNeoXConfig, OPTConfig, PhiConfig

from yoyak.models.embedding_rows import trained_tokens
from yoyak.models.lora_loader import LoRALoader
from yoyak.models.saving import save_trained

TAGS = ["#Person1#", "#Person2#", "<|spoken|>"]
IDS = torch.tensor([[160, 5, 6, 161, 9, 162, 7, 160]])
SMALL = {"vocab_size": VOCABULARY, "num_hidden_layers": 2, "num_attention_heads": 4}
OTHERS = {
    "gpt_neox": (GPTNeoXConfig, {"hidden_size": 64, "intermediate_size": 96}, "query_key_value"),
    "opt": (OPTConfig, {"hidden_size": 64, "ffn_dim": 96, "word_embed_proj_dim": 64}, "q_proj"),
    "phi": (PhiConfig, {"hidden_size": 64, "intermediate_size": 96}, "q_proj"),  # head with a bias
}


@pytest.fixture(scope="module", params=["tied", "untied", "nf4", *OTHERS])
def config(request, tmp_path_factory):
    """A checkpoint whose tokenizer has three tokens more than its embedding has rows."""
    name = request.param
    folder = tmp_path_factory.mktemp("rows") / name
    write_checkpoint(folder, "llama", tie_word_embeddings=name == "tied")
    config = tiny_config(folder, use_qlora=name == "nf4", chat_template=None)
    if name in OTHERS:
        kind, sizes, target = OTHERS[name]
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_config(kind(**SMALL, **sizes))
        torch.nn.init.normal_(model.get_input_embeddings().weight)
        model.save_pretrained(folder)
        config.lora.target_modules = [target]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(TAGS[:1])
    tokenizer.add_tokens(TAGS[1:], special_tokens=True)
    tokenizer.save_pretrained(folder)
    return config


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS).logits


def test_a_merged_model_is_the_one_that_was_trained(config):
    """A head's bias, too: PEFT leaves it out of a head whose rows are trained."""
    model, _ = LoRALoader(config, base_weights="dequantized").load_model_and_tokenizer(seed=1)
    head = model.get_base_model().get_output_embeddings()
    bias = getattr(getattr(head, "base_layer", head), "bias", None)
    if bias is not None:
        torch.nn.init.normal_(bias)
    before = logits(model)
    assert torch.allclose(before, logits(model.merge_and_unload()), atol=1e-5)


def test_they_are_trained_saved_and_read_again(config, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        model, tokenizer = LoRALoader(
            config, base_weights="dequantized"
        ).load_model_and_tokenizer(seed=1)  # fmt: skip
    said = "3 tokens have no row in the checkpoint's embedding (#Person1#, #Person2#, <|spoken|>)"
    assert caplog.text.count(said) == 1
    assert trained_tokens(model, tokenizer) == TAGS
    model.get_base_model().set_attn_implementation("eager")
    rows = model.get_input_embeddings().weight.detach().clone()
    parts = [part for part in model.parameters() if part.requires_grad]
    optimizer = torch.optim.AdamW(parts, lr=1e-2)
    for _ in range(2):
        model(input_ids=IDS, labels=IDS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    trained = model.get_input_embeddings().weight.detach()
    assert torch.equal(trained[:VOCABULARY], rows[:VOCABULARY])
    assert (trained[VOCABULARY:] != rows[VOCABULARY:]).any(dim=1).all()
    expected = logits(model)
    save_trained(model, tokenizer, tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert max(len(part) for name, part in saved.items() if "token" in name) == 3  # rows only
    again, read = LoRALoader(config, base_weights="dequantized").load_for_generation(tmp_path)
    assert read.convert_tokens_to_ids(TAGS) == [160, 161, 162]
    again.set_attn_implementation("eager")
    torch.testing.assert_close(logits(again), expected, rtol=1e-4, atol=1e-4)


def test_untrained_rows_are_the_same_in_every_run_and_said(config, caplog):
    torch.manual_seed(5)
    one, _ = LoRALoader(config).load_for_generation()
    torch.manual_seed(6)
    two, _ = LoRALoader(config).load_for_generation()
    assert torch.equal(logits(one), logits(two))
    assert "untrained, they mean nothing yet" in caplog.text


def test_with_all_weights_trained_nothing_else_is_needed(config, tmp_path):
    whole = changed(config, lora={"use_lora": False, "use_qlora": False})
    model, tokenizer = LoRALoader(whole).load_model_and_tokenizer(seed=1)
    assert trained_tokens(model, tokenizer) == []
    assert model.get_input_embeddings().num_embeddings == VOCABULARY + 3
    assert model.get_input_embeddings().weight.requires_grad


def test_rows_beyond_the_tokenizer_and_tokens_of_other_senses_need_nothing(tmp_path):
    """Qwen pads its embedding; Gemma 3 names a token for pictures beyond its text model's rows."""
    folder = write_checkpoint(tmp_path, "llama", vocab_size=SIZES["vocab_size"] + 8)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"new{number}" for number in range(8)])
    tokenizer.add_tokens(["<image_soft_token>"], special_tokens=True)
    tokenizer.save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["image_token"] = "<image_soft_token>"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    loader = LoRALoader(tiny_config(folder, use_qlora=False, chat_template=None))
    model, tokenizer = loader.load_model_and_tokenizer(seed=1)
    assert len(tokenizer) == 169 and model.get_input_embeddings().num_embeddings == 168
    assert trained_tokens(model, tokenizer) == [] == loader.new_token_ids
    assert model.peft_config["default"].trainable_token_indices is None
