"""The preview shows every token once, marks the supervised ones, spells out broken characters."""

import json

import preview as preview_script
import pytest
from prompt_files import KOREAN
from real_tokenizers import NAMES, load_tokenizer, made_tokenizer
from row_datasets import dataset_of

from yoyak.config.loading import load_config
from yoyak.config.model_config import ModelConfig
from yoyak.data.dialogues import Dialogue
from yoyak.data.own_data import own_study
from yoyak.data.preview import preview, show_example, token_text
from yoyak.errors import UserError

CONFIG = ModelConfig(
    model={"checkpoint": "a/b"}, tokenizer={"encoder_max_len": 256, "decoder_max_len": 64}
)
ROW = Dialogue("train_9", "#Person1#: 뷁이 뭐예요?\n#Person2#: 몰라요.", ("뷁을 묻는다.",))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prompt_format", ["instruction", "chat"])
def test_every_token_is_listed_and_the_supervised_ones_are_marked(name, prompt_format):
    tokenizer = load_tokenizer(name)
    text = preview(ROW, tokenizer, CONFIG, prompt_format, KOREAN)
    dataset = dataset_of([ROW], tokenizer, CONFIG, prompt_format)
    ids = dataset[0]["input_ids"].tolist()
    prompt = int(dataset.prompt_lengths[0])
    assert tokenizer.decode(ids[:prompt]) in text
    lines = text.splitlines()[-len(ids) :]
    assert [int(line[2:].split()[1]) for line in lines] == ids
    assert [line.startswith("*") for line in lines] == [False] * prompt + [True] * (
        len(ids) - prompt
    )


def test_the_script_shows_a_row_of_the_models_own_data(capsys, monkeypatch):
    load_tokenizer("tiny_llama")  # skips where the embedded model is missing
    arguments = ["preview.py", "--experiment", "tiny_llama", "--format", "instruction"]
    monkeypatch.setattr("sys.argv", [*arguments, "--row", "train_3"])
    preview_script.main()
    shown = capsys.readouterr().out
    assert shown.startswith(
        "dialogue train_3 · format instruction · prompts config/prompts/korean.yaml"
    )
    monkeypatch.setattr("sys.argv", [*arguments, "--few-shot", "2"])
    preview_script.main()
    said, shown = capsys.readouterr().out.split("\n", 1)
    assert "results/manual/data/train.csv is not there: examples of workflow/" in said
    assert " · examples train_" in shown and shown.count("### Response:\n") == 3
    monkeypatch.setattr("sys.argv", [*arguments, "--row", "nope"])
    with pytest.raises(UserError, match="--row nope: no dialogue of workflow/.*train.csv, "):
        preview_script.main()


def test_another_model_never_shows_the_embedded_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["preview.py", "--experiment", "llama_3.2_3b"])
    with pytest.raises(UserError, match="data/raw/train.csv and data/raw/dev.csv: no such file"):
        preview_script.main()
    study = own_study("llama_3.2_3b", load_config("llama_3.2_3b"))
    (tmp_path / "data" / "raw").mkdir(parents=True)
    for name in ("train", "dev"):
        text = f"fname,dialogue,summary\n{name}_1,#Person1#: {name},{name}\n"
        (tmp_path / "data" / "raw" / f"{name}.csv").write_text(text)
    assert preview_script.find_row(study, None).fname == "train_1"
    assert preview_script.find_row(study, "dev_1").summary == "dev"


def test_examples_have_the_speakers_that_the_row_has(tmp_path):
    study = own_study("llama_3.2_3b", load_config("llama_3.2_3b"))
    study.settings.data.speakers = "numbered"
    study.settings.data.train = str(tmp_path / "train.jsonl")
    row = {"fname": "a", "dialogue": [{"speaker": "갑", "utterance": "네"}], "summary": "답한다."}
    (tmp_path / "train.jsonl").write_text(json.dumps(row))
    (example,) = preview_script.train_rows(study)
    assert example == preview_script.find_row(study, "a") and example.speakers == ["#Person1#"]


def test_part_of_a_character_is_shown_as_bytes():
    tokenizer = made_tokenizer()
    ids = tokenizer("뷁", add_special_tokens=False)["input_ids"]
    assert len(ids) > 1
    shown = "".join(token_text(tokenizer, token) for token in ids)
    assert shown == "".join(f"\\x{byte:02x}" for byte in "뷁".encode())
    assert token_text(tokenizer, tokenizer("\n")["input_ids"][0]) == "\\n"


def test_an_unlabelled_row_shows_its_prompt():
    text = preview(
        Dialogue("test_1", ROW.dialogue), made_tokenizer(), CONFIG, "instruction", KOREAN
    )
    assert "no summary in this split" in text and "\n* " not in text


def test_the_example_of_a_cell():
    tokenizer = made_tokenizer()
    dataset = dataset_of([ROW], tokenizer, CONFIG, "instruction", "templates")
    example = show_example(dataset, 0, [ROW], tokenizer)
    assert example["fname"] == "train_9" and ROW.dialogue in example["prompt"]
    assert example["answer"] == ROW.summary + "<|end|>"
    assert example["prompt_tokens"] + example["answer_tokens"] == int(dataset.lengths[0])
