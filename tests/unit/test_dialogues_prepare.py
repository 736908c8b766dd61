"""prepare_data and build_dataset as scripts: files, counts, debug, errors without output."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import real_tokenizers
from prompt_files import KOREAN

from yoyak.config.loading import load_config
from yoyak.config.study import Study
from yoyak.config.study_settings import StudySettings
from yoyak.data.dialogues import load_split
from yoyak.data.llm_dataset import LLMSummarizationDataset
from yoyak.data.prepare import prepare_data
from yoyak.errors import UserError
from yoyak.training.examples import build_dataset

SCRIPTS = Path(__file__).resolve().parents[2] / "workflow" / "scripts"
COLUMNS = {
    "fname": "fname",
    "dialogue": "dialogue",
    "summaries": ["summary", "summary2", "summary3"],
    "topic": "topic",
    "group": "group",
}


def write_csv(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def talk(number):
    return f"#Person1#: {number}번 손님 나오세요.\\n#Person2#: 네, 접니다. 표는 {number}장이요."


def split(name, count, **more):
    return [
        {"fname": f"{name}_{number}", "dialogue": talk(f"{name} {number}"), **more}
        for number in range(count)
    ]


@pytest.fixture
def study(tmp_path):
    train = split("train", 120, summary="#Person2#이 대답한다.", topic="가게")
    train[7]["dialogue"] = talk("dev 3")
    write_csv(tmp_path / "train.csv", train)
    references = {"summary": "하나", "summary2": "둘", "summary3": "셋", "group": "seen"}
    write_csv(tmp_path / "dev.csv", split("dev", 20, **references))
    write_csv(tmp_path / "test.csv", split("test", 15))
    return make_study(tmp_path)


STUDY = {
    "description": "one",
    "language": "ko",
    "models": ["tiny_llama"],
    "formats": ["chat"],
    "augmentations": ["none"],
    "seeds": [42],
    "metric": {"primary": "words", "tokenizers": ["words"]},
}


def make_study(folder, debug=False, **more):
    data = {
        **{name: str(folder / f"{name}.csv") for name in ("train", "dev", "test")},
        "columns": COLUMNS,
        "selection": "held_out",
        "selection_fraction": 0.1,
        "selection_seed": 42,
        **more,
    }
    return Study("made", debug, StudySettings.checked({**STUDY, "data": data}, "made"), {})


def test_what_prepare_data_writes(study, tmp_path):
    output = tmp_path / "results" / "data"
    card = prepare_data(study, output)
    names = ["data_card.json", "dev.csv", "run.json", "selection.csv", "test.csv", "train.csv"]
    assert sorted(path.name for path in output.iterdir()) == names
    splits = {name: load_split(output / f"{name}.csv") for name in ("train", "selection")}
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 107, "selection": 12}
    assert "train_7" not in {row.fname for rows in splits.values() for row in rows}
    assert load_split(output / "dev.csv")[0].summaries == ("하나", "둘", "셋")
    assert (output / "test.csv").read_text(encoding="utf-8").startswith("fname,dialogue,topic")
    assert json.loads((output / "data_card.json").read_text(encoding="utf-8")) == card
    assert card["leaks"]["dropped_from_train"] == {"dev": 1, "test": 0}
    assert card["cleaning"]["literal_newline"]["texts_changed"]["train"] == 120
    assert card["splits"]["dev"]["groups"] == {"seen": 20}
    assert len(card["files"]["train"]["sha256"]) == 64


def test_preparing_twice_gives_the_same_bytes(study, tmp_path):
    prepare_data(study, tmp_path / "a")
    prepare_data(study, tmp_path / "b")
    for name in ("train.csv", "selection.csv", "dev.csv", "test.csv", "data_card.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_file_that_only_the_project_has_is_named(study, tmp_path, monkeypatch, caplog):
    (tmp_path / "here").mkdir()
    shutil.copy(tmp_path / "train.csv", tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("yoyak.data.splits.PROJECT_ROOT", tmp_path)
    prepare_data(make_study(Path()), Path("out"))
    assert caplog.messages == [
        f"data.{name}: {name}.csv is not in the working directory, the project's is read: "
        f"{tmp_path / name}.csv"
        for name in ("dev", "test")
    ]


def test_debug_takes_few_rows(study, tmp_path):
    card = prepare_data(make_study(tmp_path, debug=True), tmp_path / "out")
    rows = {name: described["rows"] for name, described in card["splits"].items()}
    assert rows == {"train": 50, "selection": 10, "dev": 10, "test": 10}


def test_selection_may_be_dev(study, tmp_path):
    prepare_data(make_study(tmp_path, selection="dev"), tmp_path / "out")
    texts = [(tmp_path / "out" / f"{name}.csv").read_bytes() for name in ("selection", "dev")]
    assert texts[0] == texts[1]


def test_a_study_without_test_split(study, tmp_path):
    prepare_data(make_study(tmp_path, test=None), tmp_path / "out")
    assert not (tmp_path / "out" / "test.csv").exists()


def test_a_train_split_that_is_the_dev_split_is_refused(study, tmp_path):
    same = make_study(tmp_path, train=str(tmp_path / "dev.csv"))
    with pytest.raises(UserError, match="all of its 20 dialogues stand in dev or test too"):
        prepare_data(same, tmp_path / "out")


def test_a_bad_row_writes_nothing(study, tmp_path):
    with open(tmp_path / "dev.csv", "a", encoding="utf-8") as file:
        file.write("dev_0,가,나,다,라,마\n")
    with pytest.raises(UserError, match="dev.csv: 1 bad row: line 22: fname 'dev_0' is already on"):
        prepare_data(study, tmp_path / "out" / "data")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def checkpoint(tmp_path):
    """A Llama of a few thousand random weights with its tokenizer, saved as any checkpoint is."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = real_tokenizers.made_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
    )
    folder = tmp_path / "checkpoint"
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_what_build_dataset_writes(study, checkpoint, tmp_path):
    prepare_data(study, tmp_path / "data")
    config = load_config("tiny_llama").model_copy(update={"prompts": KOREAN})
    config.model.checkpoint = str(checkpoint)
    output = tmp_path / "examples"
    arguments = (study, config, "instruction", "templates", tmp_path / "data", output)
    statistics = build_dataset(*arguments)
    train = LLMSummarizationDataset.load(output / "train.safetensors")
    selection = LLMSummarizationDataset.load(output / "selection.safetensors")
    assert (len(train), len(selection)) == (5 * 107, 12)
    assert statistics["train"]["examples"] == 535
    assert statistics["example"]["answer"] == "#Person2#이 대답한다.<|end|>"
    assert statistics["stop_tokens"] == {"0": "<|end|>"}
    assert (output / "statistics.json").is_file()
    record = json.loads((output / "run.json").read_text(encoding="utf-8"))
    used = KOREAN.used("instruction", "templates").model_dump()
    assert record["settings"]["prompts"] == used and used["chat"] is None
    inputs = {Path(name).name for name in record["inputs"]}
    assert {"train.csv", "selection.csv", "tokenizer.json"} <= inputs
    assert "model.safetensors" not in inputs
    before = (output / "train.safetensors").read_bytes()
    build_dataset(*arguments)
    assert (output / "train.safetensors").read_bytes() == before


def test_build_dataset_without_data(study, tmp_path):
    config = load_config("tiny_llama").model_copy(update={"prompts": KOREAN})
    with pytest.raises(UserError, match="train.csv: no such file; run prepare_data.py first"):
        build_dataset(study, config, "chat", "none", tmp_path / "no", tmp_path / "out")


def run(script, *arguments):
    command = [sys.executable, str(SCRIPTS / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("script", ["prepare_data.py", "build_dataset.py", "preview.py"])
def test_the_scripts_explain_themselves(script):
    done = run(script, "--help")
    assert done.returncode == 0 and "Examples:" in done.stdout


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path):
    done = run("prepare_data.py", "--study", "nope", "--output-dir", str(tmp_path / "out"))
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: study 'nope'")
    assert not (tmp_path / "out").exists()
