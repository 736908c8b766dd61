"""PEFT's own keys under `lora:`, and the keys of LoRA+ and NEFTune: one line for what is wrong."""

from dataclasses import fields

import pytest
import yaml
from peft import LoraConfig
from tiny_models import PROJECTIONS, tiny_config, write_checkpoint

from yoyak.config.frozen import freeze, thaw
from yoyak.config.loading import read_config
from yoyak.config.lora_settings import LoraSettings
from yoyak.config.peft_keys import REFUSED, peft_names
from yoyak.errors import UserError
from yoyak.models.lora_loader import LoRALoader


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), "llama")


WRONG = {
    "use_dorra: true": "unknown key 'lora.use_dorra'; did you mean 'use_dora'?",
    "use_dora: 1": "lora.use_dora: found 1, must be true or false",
    "init_lora_weights: pisa": 'lora.init_lora_weights: found "pisa", must be true or false or',
    "init_lora_weights: pissa": "lora.use_qlora holds them in 4, .* set lora.use_qlora: false",
    "init_lora_weights: orthogonal": "lora.use_qlora holds them in 4",
    "init_lora_weights: loftq": "lora.init_lora_weights: loftq quantises the base weights",
    "lora_alpha: 3": "lora.lora_alpha is called lora.alpha here",
    "task_type: CAUSAL_LM": "lora.task_type is set by Yoyak itself",
    "modules_to_save: [lm_head]": "lora.modules_to_save would train whole modules",
    "rank_pattern: {q_proj: '8'}": 'lora.rank_pattern.q_proj: found "8", must be',
    "layers_to_transform: [-1]": "lora.layers_to_transform.*at least 0",
    "layers_pattern: layers": "`layers_to_transform` must also be specified",
    "1: 2": "lora",
    "{use_lora: false, use_qlora: false, use_dora: true}": "lora.use_dora is of adapters, and .* "
    "set lora.use_lora: true",
    "{lora_bias: true, use_dora: true}": "lora_bias=True is not supported for DoRA",
}


@pytest.mark.parametrize("keys", WRONG)
def test_a_wrong_key_is_one_line_with_file_and_key(keys):
    content = {"model": {"checkpoint": "some/where"}, "lora": yaml.safe_load(keys)}
    with pytest.raises(UserError, match=rf"^mine\.yaml: .*{WRONG[keys]}") as caught:
        read_config(content, "mine.yaml")
    assert "\n" not in str(caught.value)


PLAIN = {"use_qlora": False}
BEYOND: list[tuple[dict, str]] = [
    ({"rank_pattern": {"q_prj": 3}}, "lora.rank_pattern: 'q_prj' matches no projection"),
    ({"alpha_pattern": {"q_(": 3}}, "^lora: .*unterminated"),
    ({"layers_to_transform": [0, 2]}, "lora.layers_to_transform: found 2, the model has no such"),
    ({"lora_bias": True}, "lora.lora_bias: q_proj has no bias"),
    ({"exclude_modules": PROJECTIONS}, "^lora: .*exclude"),
    ({**PLAIN, "init_lora_weights": "orthogonal", "r": 3}, "^lora.r: found 3, .* an even rank"),
    ({**PLAIN, "init_lora_weights": "pissa", "r": 33}, "^lora.r: found 33, but k_proj has only 32"),
]


@pytest.mark.parametrize("keys, words", BEYOND)
def test_what_does_not_fit_the_model_is_one_line_before_its_weights_load(
    checkpoint, monkeypatch, keys, words
):
    monkeypatch.setattr(LoRALoader, "_load_base", lambda *_: pytest.fail("loaded"))
    with pytest.raises(UserError, match=words):
        LoRALoader(tiny_config(checkpoint, **keys)).load_model_and_tokenizer()


def test_lora_plus_needs_adapters():
    settings = {"model": {"checkpoint": "some/where"}, "training": {"loraplus_lr_ratio": 16}}
    settings["lora"] = {"use_lora": False, "use_qlora": False}
    with pytest.raises(UserError, match="^mine.yaml: training.loraplus_lr_ratio .*use_lora: true"):
        read_config(settings, "mine.yaml")


def test_every_key_of_the_installed_peft_is_taken_or_refused_with_a_reason():
    known = {part.name for part in fields(LoraConfig)}
    own = set(LoraSettings.model_fields)
    ours = {"loraplus_lr_ratio"}  # PEFT has it, but not as a key of LoraConfig
    assert set(REFUSED) - ours <= known and not own & set(REFUSED)
    assert known == (own & known) | (set(REFUSED) - ours) | set(peft_names())
    assert peft_names() == [
        *("alpha_pattern", "bias", "exclude_modules", "fan_in_fan_out", "init_lora_weights"),
        *("layers_pattern", "layers_to_transform", "lora_bias", "rank_pattern"),
        *("target_parameters", "use_dora", "use_rslora"),
    ]


def test_a_key_at_pefts_default_is_no_other_setting(checkpoint):
    assert tiny_config(checkpoint, use_dora=False, rank_pattern={}).lora == (
        tiny_config(checkpoint).lora
    )


PISSA = "{x: {lora: {init_lora_weights: pissa}}}"


def test_a_study_compares_dora_with_plain_lora(write_study):
    study = write_study(variants="{plain: {}, dora: {lora: {use_dora: true}}}")
    text = {name: freeze(study, "train", "tiny_llama", name) for name in ("plain", "dora")}
    assert "use_dora" not in text["plain"]
    assert thaw(text["dora"]).model("tiny_llama").lora.peft_keys == {"use_dora": True}
    for words, keys in (
        ("variants.x: unknown key 'lora.use_dorra'", "{x: {lora: {use_dorra: true}}}"),
        ("variants.y: is the same as variants.x", "{x: {}, y: {lora: {use_dora: false}}}"),
        # a variant's own use_qlora would be refused next
        ("variants.x: lora.init_lora_weights: pissa .* under its overrides", PISSA),
        ("loraplus_lr_ratio: found 0", "{x: {training: {loraplus_lr_ratio: 0}}}"),
    ):
        with pytest.raises(UserError, match=words):
            write_study(variants=keys)
