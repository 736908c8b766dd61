"""What an adapter's run.json tells the scripts that use the adapter."""

import json

import generate
import pytest
from tiny_models import changed

from yoyak.config.arguments import with_decoding
from yoyak.config.frozen import freeze, thaw
from yoyak.config.study import Run, load_study
from yoyak.errors import UserError


def run_of(tmp_path, run: dict | None, *flags: str, **settings: dict) -> dict:
    """The run that generate.py takes for an adapter of the embedded study with this record."""
    study = load_study("embedded")
    (tmp_path / "final_model").mkdir(exist_ok=True)
    if run is not None:
        config = changed(study.model("tiny_llama"), **settings).model_dump()
        (tmp_path / "run.json").write_text(json.dumps({"settings": config, "run": run}))
    arguments = ["--adapter", str(tmp_path / "final_model"), "--output-dir", "out", *flags]
    return generate.run_and_config(generate.parse_arguments(arguments), study)[0].record()


def test_an_adapters_own_record_says_what_it_is(tmp_path):
    run = Run("tiny_llama", "instruction", "fine_tuned_templates", 7).record()
    assert run_of(tmp_path, run) == run
    assert run_of(tmp_path, run, "--format", "instruction", "--seed", "7") == run
    for flags in (
        ("--format", "chat"),
        ("--experiment", "tiny_qwen3"),
        ("--condition", "fine_tuned"),
        ("--seed", "42"),
    ):
        with pytest.raises(UserError, match=f"{' '.join(flags)}: .* was trained with"):
            run_of(tmp_path, run, *flags)
    with pytest.raises(UserError, match="trained with lora.use_qlora False .* study has True"):
        run_of(tmp_path, run, lora={"use_qlora": False})
    (tmp_path / "run.json").write_text("{cut")
    for damaged in (
        None,
        {**run, "format": "poem"},
        {**run, "model": ["tiny_llama"]},
        {"seed": 7},
    ):
        with pytest.raises(UserError, match="run.json: is not the record of a training"):
            run_of(tmp_path, damaged)


def test_flags_decode_otherwise_whatever_else_the_settings_hold(tmp_path):
    study = load_study("embedded")
    handed = thaw(freeze(study, "generate", "tiny_llama")).model("tiny_llama")  # some keys only
    for config in (study.model("tiny_llama"), handed):
        before = config.generation.model_dump()
        args = ["--output-dir", "out", "--num_beams", "4", "--length_penalty", "2", "--seed", "7"]
        after = with_decoding(config, generate.parse_arguments(args))
        assert after.generation.model_dump() == before | {"num_beams": 4, "length_penalty": 2.0}
        assert config.generation.model_dump() == before
        assert after.model_copy(update={"generation": config.generation}) == config
        with pytest.raises(UserError, match="the command line: generation.length_penalty: .*beams"):
            with_decoding(config, generate.parse_arguments([*args[:2], *args[4:]]))


def test_an_adapter_without_a_record_is_told_about_on_the_command_line(tmp_path):
    flags = ("--experiment", "tiny_llama", "--format", "chat")
    with pytest.raises(UserError, match="no run.json of its training beside it, and no --condi"):
        run_of(tmp_path, None, *flags)
    assert run_of(tmp_path, None, *flags, "--condition", "fine_tuned")["seed"] is None
