"""generate.py, summarize.py and merge_adapter.py on tiny checkpoints, and against each other."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import merge_adapter
import pytest
import summarize
import torch
from prompt_files import KOREAN, prompt_file
from tiny_models import adapters, changed, tiny_config, write_checkpoint
from transformers import AutoModelForCausalLM, AutoTokenizer

from yoyak.config.study import load_study
from yoyak.data.dialogues import read_dialogues
from yoyak.data.encoding import build_prompts
from yoyak.data.prompts import prompt_frames, stop_token_ids
from yoyak.errors import PROJECT_ROOT, UserError
from yoyak.generation.loading import plan_loading
from yoyak.generation.predictions import generate_splits
from yoyak.models.lora_loader import LoRALoader
from yoyak.models.saving import save_trained
from yoyak.reporting.texts import Texts
from yoyak.reporting.usage import usage

WORDS = [f"w{number}" for number in range(150)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a checkpoint, an adapter with its run.json, and a split of dialogues."""
    before = torch.get_num_threads()
    folder = tmp_path_factory.mktemp("generate")
    config = tiny_config(write_checkpoint(folder / "base", "qwen3"))
    lengths = {"encoder_max_len": 256, "decoder_max_len": 12}
    config = changed(config, tokenizer=lengths, execution={"threads": 1, "device": "cpu"})
    model, tokenizer = LoRALoader(config).load_model_and_tokenizer(seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for _, weights in sorted(adapters(model).items()):
            weights.copy_(torch.randn(weights.shape, generator=generator) * 0.1)
    save_trained(model, tokenizer, folder / "final_model")
    run = {"model": "tiny", "format": "instruction", "condition": "fine_tuned", "seed": 1}
    record = {"settings": config.model_dump(), "run": run}
    (folder / "run.json").write_text(json.dumps(record))
    with open(folder / "dev.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["fname", "dialogue", "summary"])
        for row in range(9):
            words = " ".join(WORDS[(5 * row * word) % 150] for word in range(3 + row))
            rows.writerow([f"dev_{row}", f"#Person1#: {words}", "w1"])
    yield folder, config
    torch.set_num_threads(before)


def splits(place, adapter=None) -> tuple[list[dict], dict]:
    folder, config = place
    files = {"dev": folder / "dev.csv"}
    lines, record = generate_splits(config, "instruction", KOREAN, adapter, files, "cpu")
    return [json.loads(line) for line in lines["dev"].splitlines()], record


def test_predictions_and_their_record(place):
    rows, record = splits(place)
    assert [row["fname"] for row in rows] == [f"dev_{number}" for number in range(9)]
    assert set(rows[0]) == {
        "fname",
        "prediction",
        "prompt_tokens",
        "new_tokens",
        "finish",
        "dialogue_shortened",
    }
    assert record["rows"] == 9
    assert record["new_tokens"] == sum(row["new_tokens"] for row in rows)
    assert record["decoding"] == {"max_new_tokens": 12, "num_beams": 1, "do_sample": False}
    assert record["execution"]["threads"] == 1 and record["execution"]["slots"] == 9
    check = record["engine_check"]
    assert (check["engine"], check["rows"], check["leak"]) == ("slots", 4, False)
    assert check["logits_difference"] < check["tolerance"] == 7.5e-5


def test_the_engine_is_the_configs(place):
    folder, config = place
    plain = changed(config, execution={"engine": "plain"})
    rows, record = splits((folder, plain))
    assert (record["engine"], record["execution"]["engine"]) == ("plain", "plain")
    assert rows == splits(place)[0]


def test_adapter_changes_the_summaries(place):
    plain, _ = splits(place)
    adapted, _ = splits(place, place[0] / "final_model")
    assert [row["prediction"] for row in plain] != [row["prediction"] for row in adapted]


# generate.py, so slow that it can be killed after its first rows.
SLOW = """
import time
import generate
from yoyak.errors import run_script
from yoyak.generation.progress import RowProgress

def row(self):
    self.done += 1
    if self.done == 3:
        print("ready", flush=True)
        time.sleep(60)

RowProgress.row = row
run_script(generate.main)
"""


def test_a_killed_generation_leaves_nothing_and_is_run_again(tmp_path):
    scripts = PROJECT_ROOT / "workflow" / "scripts"
    options = {"env": {**os.environ, "PYTHONPATH": str(scripts)}, "cwd": tmp_path}
    prepare = [sys.executable, scripts / "prepare_data.py", "--study", "embedded", "--debug"]
    subprocess.run([*prepare, "--output-dir", "data"], check=True, **options)
    flags = [*prepare[2:], "--experiment", "tiny_llama", "--format", "chat", "--data", "data"]

    slow = [sys.executable, "-c", SLOW, *flags, "--output-dir", "out/killed"]
    child = subprocess.Popen(slow, stdout=subprocess.PIPE, text=True, **options)
    assert child.stdout.readline().strip() == "ready"
    child.kill()
    child.communicate()
    assert not (tmp_path / "out").exists()

    for name in ("killed", "undisturbed"):
        command = [sys.executable, scripts / "generate.py", *flags, "--output-dir", f"out/{name}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, **options)
        assert " rows/s " in done.stderr  # progress, in a log too
    killed, undisturbed = (tmp_path / "out" / name for name in ("killed", "undisturbed"))
    assert sorted(path.name for path in killed.iterdir()) == ["dev.jsonl", "run.json", "test.jsonl"]
    for name in ("dev.jsonl", "test.jsonl"):
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes()


def test_merged_model_in_plain_transformers_gives_the_same(place, tmp_path, monkeypatch, capsys):
    folder, config = place
    adapted, _ = splits(place, folder / "final_model")
    expected = [row["prediction"] for row in adapted]

    merged = tmp_path / "merged"
    command = ["merge_adapter.py", "--adapter", str(folder / "final_model")]
    monkeypatch.setattr("sys.argv", [*command, "--output-dir", str(merged)])
    merge_adapter.main()
    record = json.loads((merged / "run.json").read_text(encoding="utf-8"))
    assert (record["format"], record["messages"][0]["content"]) == ("instruction", "{dialogue}")
    model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(merged)
    dialogues = read_dialogues(folder / "dev.csv")
    prompts, _ = build_prompts(dialogues, tokenizer, config, "instruction", KOREAN)
    texts = []
    for prompt in prompts:
        output = model.generate(
            input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)).long()
        )
        text = tokenizer.decode(output[0, len(prompt) :], skip_special_tokens=True)
        texts.append(text.strip())
    assert texts == expected

    arguments = [str(folder / "dev.csv")]  # prompt and lengths are the training's, in both folders
    for name in (["--checkpoint", str(merged)], ["--adapter", str(folder / "final_model")]):
        output = tmp_path / "summaries.csv"
        monkeypatch.setattr(
            "sys.argv", ["summarize.py", *arguments, *name, "--output", str(output)]
        )
        summarize.main()
        with open(output, newline="") as file:
            assert [row["summary"] for row in csv.DictReader(file)] == expected


def test_a_merged_folder_has_what_ollama_and_vllm_read(place, tmp_path, monkeypatch):
    adapter = place[0] / "final_model"
    own = prompt_file(tmp_path, **{"instruction.text": "{request}\n{dialogue}\nA:"})
    command = ["merge_adapter.py", "--adapter", str(adapter), "--prompts", str(own)]
    monkeypatch.setattr("sys.argv", [*command, "--output-dir", str(tmp_path / "merged")])
    merge_adapter.main()
    monkeypatch.chdir(tmp_path / "merged")
    text = Path("Modelfile").read_text(encoding="utf-8")
    assert f'"{KOREAN.instruction.requests[0]}\n{{{{ .Prompt }}}}\nA:"' in text
    assert "PARAMETER num_ctx 268\n" in text and text.splitlines()[1] == "FROM ."
    ends = json.loads(Path("generation_config.json").read_text())["eos_token_id"]
    tokenizer = AutoTokenizer.from_pretrained(".")
    base = LoRALoader(place[1]).load_tokenizer()
    assert ends == stop_token_ids(base, "instruction") and len(ends) == 2  # chat's end, too
    said = [{"role": "user", "content": "A: 네"}]
    written = tokenizer.apply_chat_template(said, tokenize=False)
    assert written == f"{KOREAN.instruction.requests[0]}\nA: 네\nA:"
    own.unlink()  # what was merged needs no file any more
    (tmp_path / "talk.txt").write_text("A: 네")
    command = ["summarize.py", "../talk.txt", "--checkpoint", "."]
    monkeypatch.setattr("sys.argv", command)
    summarize.main()


@pytest.mark.parametrize("decoding", [{}, {"num_beams": 3, "length_penalty": 2.0}])
def test_the_cards_code_gives_the_studys_summaries(place, decoding, monkeypatch, capsys):
    folder, config = place
    config = changed(config, lora={"use_qlora": False}, generation=decoding)
    rows, record = splits((folder, config), folder / "final_model")
    tokenizer = LoRALoader(config).load_tokenizer()
    frame = prompt_frames(tokenizer, "instruction", KOREAN)[0]
    written = {"prefix": tokenizer.decode(frame.prefix_ids), "head": frame.head, "tail": frame.tail}
    statistics = {"frames": [written], "stop_tokens": record["stop_tokens"]}
    code = (
        usage(Texts("en"), config, statistics, record["decoding"])
        .split("```")[1]
        .removeprefix("python\n")
    )
    monkeypatch.chdir(folder)
    exec(code, {"dialogue": read_dialogues(folder / "dev.csv")[3].dialogue})
    assert capsys.readouterr().out.strip() == rows[3]["prediction"]


def test_one_text_gives_one_summary(place, tmp_path, monkeypatch, capsys):
    folder, _ = place
    (tmp_path / "talk.txt").write_text(read_dialogues(folder / "dev.csv")[4].dialogue)
    command = ["summarize.py", str(tmp_path / "talk.txt"), "--adapter", str(folder / "final_model")]
    monkeypatch.setattr("sys.argv", command)
    summarize.main()
    adapted, _ = splits(place, folder / "final_model")
    assert capsys.readouterr().out.rstrip("\n") == adapted[4]["prediction"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "no model is named"),
        (["--experiment", "a", "--checkpoint", "b"], "name two models"),
        (["--adapter", "nowhere"], "no such folder"),
        (["--adapter", "."], "no run.json"),
        (["--checkpoint", "nowhere/at/all", "missing.txt"], "missing.txt: cannot be read"),
    ],
)
def test_errors_in_words(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["summarize.py", *arguments])
    with pytest.raises(UserError, match=message):
        summarize.main()


def test_bad_text_files(tmp_path):
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match="contains no dialogues"):
        summarize.read_input(str(tmp_path / "empty.txt"))
    with pytest.raises(UserError, match="not UTF-8 at byte 3"):
        summarize.read_input(str(tmp_path / "latin.txt"))


def test_a_study_lends_its_column_names(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text('{"id": "a", "conversation": "#Person1#: 네."}\n', encoding="utf-8")
    with pytest.raises(UserError, match="column missing: dialogue .*--study NAME"):
        summarize.read_input(str(file))
    study = load_study("embedded")
    study.settings.data.columns.fname, study.settings.data.columns.dialogue = "id", "conversation"
    rows, single = summarize.read_input(str(file), study)
    assert [(row.fname, row.dialogue) for row in rows] == [("a", "#Person1#: 네.")] and not single


def test_merge_refuses_a_foreign_folder(place, tmp_path, monkeypatch):
    command = ["merge_adapter.py", "--adapter", str(place[0] / "final_model")]
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr("sys.argv", [*command, "--output-dir", str(tmp_path / "mine")])
    with pytest.raises(UserError, match="is not a model folder"):
        merge_adapter.main()


def test_small_matrices_are_not_shared_between_threads(place):
    _, config = place
    automatic = changed(config, execution={"threads": "auto"})
    assert plan_loading(automatic, "cpu").threads == 1
    plan = plan_loading(changed(config, execution={"threads": 3}), "cpu")
    assert (plan.threads, plan.compute_dtype, plan.base_weights) == (3, "float32", "dequantized")
