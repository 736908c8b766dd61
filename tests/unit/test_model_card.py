"""Model cards: valid Hub metadata, the table's numbers, the right words for each kind of model."""

import copy
import csv
import dataclasses
import json
import shutil
import subprocess
import sys

import pytest
from huggingface_hub import ModelCard

from yoyak.config.frozen import freeze, thaw
from yoyak.config.study import Run
from yoyak.errors import PROJECT_ROOT, UserError
from yoyak.reporting.model_card import model_card
from yoyak.reporting.tables import write_table

RUN = Run("tiny_qwen3", "chat", "fine_tuned_templates", 42)


def test_metadata_reads_back_with_the_scores_of_the_table(reported_study):
    study, results = reported_study
    study = thaw(freeze(study, "model_card", RUN.model, RUN.variant))  # all that its job is given
    card = ModelCard(model_card(study, results, RUN))
    data = card.data
    assert (data.language, data.library_name, data.pipeline_tag) == (
        "ko",
        "peft",
        "text-generation",
    )
    assert data.base_model is None  # a local folder is no model of the Hub
    assert {"summarization", "qlora"} <= set(data.tags)
    with open(results / "tables" / "rouge.csv", encoding="utf-8") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if (row["model"], row["format"], row["condition"])
            == (RUN.model, RUN.format, RUN.condition)
        ]
    expected = [
        float(row[key]) for row in rows for key in ("rouge1", "rouge2", "rougeL", "rouge_mean")
    ]
    assert [result.metric_value for result in data.eval_results] == expected
    assert all(result.metric_type == "rouge" for result in data.eval_results)


def test_text_shows_zero_shot_floors_use_and_command(reported_study):
    study, results = reported_study
    text = ModelCard(model_card(study, results, RUN)).text
    for part in (
        "zero-shot, same base and format",
        "floor: other dialogues’ references",
        "below the strongest floor (the nearest training dialogue’s summary): -",
        "95 % interval",
        "AutoPeftModelForCausalLM",
        "add_special_tokens=False",
        "stops = [2]",
        "python workflow/scripts/train.py",
        "licences",
    ):
        assert part in text, part


@pytest.mark.parametrize(
    "decoding, call, said",
    [
        ({"num_beams": 1, "do_sample": False}, "do_sample=False, repetition_penalty=1.0)", None),
        ({"num_beams": 4, "do_sample": False, "length_penalty": 0.8},
         "do_sample=False, num_beams=4, length_penalty=0.8, repetition_penalty=1.0)", None),
        ({"num_beams": 1, "do_sample": True, "temperature": 0.7, "top_p": 0.9, "seed": 1},
         "do_sample=True, temperature=0.7, top_p=0.9, top_k=0, rep", "had seeds of their own"),
        ({"num_beams": 1, "do_sample": False, "no_repeat_ngram_size": 3},
         "do_sample=False, repetition_penalty=1.0)", "had `no_repeat_ngram_size` 3, too"),
    ],
)  # fmt: skip
def test_its_code_decodes_as_the_study_did(reported_study, tmp_path, decoding, call, said):
    study, results = reported_study
    copied = tmp_path / "results"
    shutil.copytree(results, copied)
    file = copied / RUN.folder / "predictions" / "run.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    record["decoding"] = {**decoding, "max_new_tokens": 80}
    file.write_text(json.dumps(record), encoding="utf-8")
    text = model_card(study, copied, RUN)
    assert f"eos_token_id=stops, max_new_tokens=80, {call}" in text
    assert said in text if said else "seeds of their own" not in text
    assert "vllm serve merged" in text and "ollama create summariser -f merged/Modelfile" in text


def test_a_seed_is_not_taken_for_the_method(reported_study, tmp_path):
    study, results = reported_study
    assert "- One seed: with another" in model_card(study, results, RUN)
    for name in ("examples", "runs"):
        (tmp_path / name).symlink_to(results / name)
    shutil.copytree(results / "tables", tmp_path / "tables")
    row = {key: value for key, value in RUN.record().items() if key != "seed"}
    row |= {"seeds": 3, "tokenizer": "morphemes", "rouge_mean": 21.5, "sd": 0.75, "ci_low": 19.0}
    write_table(tmp_path / "tables", "seeds", [{**row, "ci_high": 24.0}], "note")
    text = model_card(study, tmp_path, RUN)
    assert "Seed 42 is one of 3: over all of them the same training reaches 21.50" in text
    assert "standard deviation of seeds 0.75, 95 % interval 19.00 to 24.00" in text


def test_a_debug_card_says_so_and_has_no_model_index(reported_study):
    study, results = reported_study
    card = ModelCard(model_card(dataclasses.replace(study, debug=True), results, RUN))
    assert "**A debug run: 900 examples, 60 steps.**" in card.text
    assert "model-index" not in str(card)
    assert "debug" not in model_card(study, results, RUN)


def test_a_card_says_nothing_of_references_speakers_and_files_that_are_not_there(
    reported_study, tmp_path
):
    study, results = reported_study
    text = model_card(study, results, RUN)
    assert "Over several references: mean." in text and "`dev.csv`, which was not used" in text
    assert "speakers as" not in text  # the example prompt of the fixture has none
    for name in ("examples", "runs"):
        (tmp_path / name).symlink_to(results / name)
    shutil.copytree(results / "tables", tmp_path / "tables")
    context = tmp_path / "tables" / "context.csv"
    lines = context.read_text(encoding="utf-8").splitlines(keepends=True)
    context.write_text(
        "".join(x for x in lines if not x.startswith("human_agreement")), encoding="utf-8"
    )
    alone = model_card(study, tmp_path, RUN)
    assert "references" not in alone.split("## Scores")[1].split("|")[0]
    assert "human agreement" not in alone


def test_a_checkpoint_of_the_hub_is_the_base_model(reported_study, tmp_path):
    study, results = reported_study
    copied = tmp_path / "results"
    for name in ("tables", "examples"):
        (copied / name).parent.mkdir(exist_ok=True)
        (copied / name).symlink_to(results / name)
    record = json.loads((results / RUN.folder / "run.json").read_text(encoding="utf-8"))
    record = copy.deepcopy(record)
    record["settings"]["model"]["checkpoint"] = "Qwen/Qwen3-4B-Instruct-2507"
    record["settings"]["lora"] |= {"use_lora": False, "use_qlora": False}
    (copied / RUN.folder).mkdir(parents=True)
    (copied / RUN.folder / "predictions").symlink_to(results / RUN.folder / "predictions")
    (copied / RUN.folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    card = ModelCard(model_card(study, copied, RUN))
    assert card.data.base_model == "Qwen/Qwen3-4B-Instruct-2507"
    assert card.data.library_name == "transformers"
    assert "fully fine-tuned" in card.text and "AutoPeft" not in card.text


def test_an_untrained_cell_is_named(reported_study, tmp_path):
    study, results = reported_study
    (tmp_path / "tables").symlink_to(results / "tables")
    with pytest.raises(UserError, match="run.json: no such file; train this model first"):
        model_card(study, tmp_path, RUN)


@pytest.mark.parametrize("script", ["plot.py", "report.py", "model_card.py"])
def test_scripts_start_without_torch_and_explain_themselves(script):
    command = [sys.executable, "-X", "importtime", f"workflow/scripts/{script}", "--help"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Example" in done.stdout
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"torch", "transformers", "matplotlib"}


def test_reporting_never_loads_torch():
    code = "import yoyak.reporting.plots, yoyak.reporting.html, yoyak.reporting.model_card, sys; "
    code += "assert 'torch' not in sys.modules"
    folder = PROJECT_ROOT / "workflow" / "scripts"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, timeout=60)
