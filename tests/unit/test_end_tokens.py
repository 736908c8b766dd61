"""Each end token ends a summary, whoever names it, and is known without the weights."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from prompt_files import KOREAN
from tiny_models import changed, tiny_config, write_checkpoint
from transformers import AutoTokenizer

from yoyak.data.prompts import stop_token_ids
from yoyak.errors import UserError
from yoyak.generation.predictions import generate_splits
from yoyak.models import end_tokens
from yoyak.models.checkpoints import Checkpoint
from yoyak.models.end_tokens import named_end_ids
from yoyak.models.lora_loader import LoRALoader
from yoyak.models.saving import save_trained

END = 159  # "</s>", the tokenizer's own
PLACES = ("tokenizer", "chat template", "generation_config.json", "config.json")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("ends")
    return {family: write_checkpoint(place / family, family) for family in ("llama", "qwen3")}


def edit(file: Path, **values) -> None:
    old = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**old, **values}))


def predictions(folder: Path, data: Path, work: Path) -> list[str]:
    config = tiny_config(folder, use_qlora=False)
    lengths = {"encoder_max_len": 256, "decoder_max_len": 24}
    config = changed(config, tokenizer=lengths, execution={"threads": 1, "device": "cpu"})
    work.mkdir()
    lines, _ = generate_splits(config, "instruction", KOREAN, None, {"dev": data}, "cpu")
    return [json.loads(line)["prediction"] for line in lines["dev"].splitlines()]


@pytest.mark.parametrize("place", PLACES)
def test_each_end_token_ends_a_summary(folders, place, tmp_path):
    """The word that the free summaries use most becomes an end: none goes on beyond it."""
    folder, data = tmp_path / "model", tmp_path / "dev.csv"
    shutil.copytree(folders["qwen3"], folder)
    rows = [f"dev_{n},#Person1#: " + " ".join(f"w{7 * n + i}" for i in range(9)) for n in range(6)]
    data.write_text("\n".join(["fname,dialogue", *rows]))
    before = torch.get_num_threads()
    free = predictions(folder, data, tmp_path / "free")
    words = [word for text in free for word in text.split()[1:]]
    word = max(sorted(set(words)), key=words.count)
    number = int(word[1:])
    if place == "tokenizer":
        edit(folder / "tokenizer_config.json", eos_token=word)
    elif place == "chat template":
        edit(folder / "tokenizer_config.json", pad_token=word)  # written by a template, it steers
        (folder / "chat_template.jinja").write_text(
            "{% for m in messages %}" + f"{{{{ m.content }}}} {word}" + "{% endfor %}"
        )
    else:
        edit(folder / place, eos_token_id=[END, number])
    cut = predictions(folder, data, tmp_path / "cut")
    torch.set_num_threads(before)
    expected = [" ".join(_until(text.split(), word)) for text in free]
    assert cut == expected != free


def _until(words: list[str], end: str) -> list[str]:
    return words[: words.index(end)] if end in words else words


def test_they_are_known_without_weights_and_with_an_adapter(folders, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(folders["qwen3"], folder)
    edit(folder / "generation_config.json", eos_token_id=[7, END])
    config = tiny_config(folder, chat_template="qwen", use_qlora=False)
    model, tokenizer = LoRALoader(config).load_model_and_tokenizer(seed=1)
    save_trained(model, tokenizer, tmp_path / "adapter")
    _, adapted = LoRALoader(config).load_for_generation(tmp_path / "adapter")
    loader = LoRALoader(config)
    (folder / "model.safetensors").unlink()
    alone = loader.load_tokenizer()
    turn_end = alone.convert_tokens_to_ids("<|im_end|>")
    for found in (alone, adapted):
        assert stop_token_ids(found, "chat") == [turn_end, END, 7]
        assert stop_token_ids(found, "instruction") == [END, turn_end, 7]


# ---- what the files may say ----


@pytest.fixture(scope="module")
def tokenizer(folders):
    return AutoTokenizer.from_pretrained(folders["llama"])


@pytest.fixture
def named(tokenizer):
    return lambda folder: named_end_ids(Checkpoint(str(folder), {}, local=True), tokenizer)


@pytest.fixture
def copied(folders, tmp_path):
    folder = tmp_path / "copied"
    shutil.copytree(folders["llama"], folder)
    return folder


def test_a_number_that_a_model_class_left_behind_is_no_end_token(folders, named, caplog):
    """LlamaConfig's 2 is the word w2 here: it would cut summaries short."""
    folder = folders["llama"]
    for name in ("config.json", "generation_config.json"):
        assert json.loads((folder / name).read_text())["eos_token_id"] == 2
    end_tokens._warn_left_out.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert named(folder) == []
    assert "config.json: eos_token_id 2 names a token" in caplog.text


@pytest.mark.parametrize(
    "generation, config, expected",
    [
        ({"eos_token_id": END}, {}, [END]),
        ({"eos_token_id": 5, "_from_model_config": False}, {}, [5]),
        ({"eos_token_id": [END, 5]}, {"eos_token_id": [6, END]}, [END, 5, 6]),
        ({"eos_token_id": None}, {"eos_token_id": END}, [END]),
        ({"eos_token_id": None}, {"eos_token_id": None, "text_config": {"eos_token_id": [7]}}, [7]),
        ({"eos_token_id": [-1, 160, 9]}, {"eos_token_id": None}, [9]),
    ],
)
def test_one_or_many_in_either_file(copied, named, generation, config, expected):
    edit(copied / "generation_config.json", **generation)
    edit(copied / "config.json", **config)
    assert named(copied) == expected


def test_without_a_generation_config(copied, named):
    (copied / "generation_config.json").unlink()
    edit(copied / "config.json", eos_token_id=END)
    assert named(copied) == [END]


@pytest.mark.parametrize("value", ["2", [1, "a"], True, 1.5, {"id": 2}, [[2]]])
@pytest.mark.parametrize("name", ["generation_config.json", "config.json"])
def test_what_is_no_token_id_is_one_line(copied, named, name, value):
    edit(copied / name, eos_token_id=value)
    with pytest.raises(UserError, match=f"{name}: eos_token_id: found .*, allowed are") as caught:
        named(copied)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", ["{", "[2]", "\udc80"])
def test_a_generation_config_that_is_no_json_is_one_line(copied, named, text):
    (copied / "generation_config.json").write_text(text, errors="surrogateescape")
    with pytest.raises(UserError, match="generation_config.json: is not a readable JSON object"):
        named(copied)
