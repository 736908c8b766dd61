"""Where checkpoints come from: each way to be broken, with a real broken artefact, in one line."""

import json
import shutil

import pytest
import torch
from tiny_models import tiny_config, write_checkpoint

from yoyak.config.model_config import ModelSettings
from yoyak.errors import PROJECT_ROOT, UserError
from yoyak.models.checkpoints import resolve_checkpoint
from yoyak.models.gguf import _reads_words
from yoyak.models.lora_loader import LoRALoader

SHARDED = {"shard": "200KB", "tie_word_embeddings": False}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("whole"), "llama", **SHARDED)


@pytest.fixture
def broken(original, tmp_path):
    """A copy to break."""
    return shutil.copytree(original, tmp_path / "model")


def model_section(checkpoint, revision=None) -> ModelSettings:
    """Unchecked: a settings file refuses some texts before they come so far."""
    return ModelSettings.model_construct(checkpoint=str(checkpoint), revision=revision)


def refused(checkpoint, *words, revision=None) -> str:
    with pytest.raises(UserError) as caught:
        resolve_checkpoint(model_section(checkpoint, revision))
    return one_line(caught.value, *words)


def one_line(error, *words) -> str:
    text = str(error)
    assert text.isprintable() and len(text) < 700, text
    for word in words:
        assert word in text, text
    return text


# ---- what is found ----


def test_a_whole_folder_is_found_with_its_files(original, monkeypatch):
    found = resolve_checkpoint(model_section(original))
    names = [file.name for file in found.weight_files()]
    assert found.local and found.kwargs == {} and found.commit() is None
    assert "model-00001-of-00003.safetensors" in names and "tokenizer.json" in names
    monkeypatch.chdir(original.parent)
    assert resolve_checkpoint(model_section(original.name)).name == str(original)


def test_the_chat_template_is_part_of_the_checkpoint(broken):
    before = resolve_checkpoint(model_section(broken)).weight_files()
    (broken / "chat_template.jinja").write_text("{{ messages }}")
    after = resolve_checkpoint(model_section(broken)).weight_files()
    assert {file.name for file in after} - {file.name for file in before} == {"chat_template.jinja"}


def test_a_package_folder_is_found(original, tmp_path, monkeypatch):
    package = tmp_path / "some_model_package"
    shutil.copytree(original, package / "weights")
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    found = resolve_checkpoint(model_section("package:some_model_package/weights"))
    assert found.name == str(package / "weights")
    for inner, words in (
        ("nothing.gguf", "has no file 'nothing.gguf'"),
        ("", "has no file ''"),
        ("../../etc", "has no file"),
        ("/etc", "has no file"),
    ):
        refused(f"package:some_model_package/{inner}", words)


# ---- what is refused before anything loads ----


@pytest.mark.parametrize(
    "checkpoint",
    ["no/such/folder", "./nothing", "/nothing/at/all", "~stranger/model", "just_a_name", "x.gguf"]
    + ["a b/c", "owner/name\n", "owner/\x1b[31m", "x" * 5000, "a\0b/c", "http://x/y"],
)
def test_a_missing_folder(checkpoint):
    refused(checkpoint, "no such file or folder", "Hub id (owner/name)")


@pytest.mark.parametrize("name", ["no_such_package", "os.path", "", "a-b", "json/../x"])
def test_a_missing_package(name):
    refused(
        f"package:{name}/model.gguf", "package:", "pip install" if name != "json/../x" else "json"
    )


def test_a_folder_without_config(broken):
    (broken / "config.json").unlink()
    refused(broken, "no config.json", "is it a model folder?")
    (broken / "weights.Q4_0.gguf").write_bytes(b"GGUF")
    refused(broken, "name the file weights.Q4_0.gguf")
    (broken / "adapter_config.json").write_text("{}")
    refused(broken, "holds an adapter")


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "[" * 100_000])
def test_a_broken_config(broken, text):
    (broken / "config.json").write_text(text)
    refused(broken, "config.json is not readable JSON")


def test_quantised_weights_are_refused(broken):
    config = json.loads((broken / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (broken / "config.json").write_text(json.dumps(config))
    refused(broken, "already quantised (gptq)", "16-bit")


def test_pickles_are_refused(broken):
    for file in broken.glob("model*"):
        file.unlink()
    refused(broken, "no *.safetensors weights", "download it again")
    torch.save({"x": torch.ones(1)}, broken / "pytorch_model.bin")
    refused(broken, "pickled ones can run code", "convert them first")
    torch.save({"x": torch.ones(1)}, broken / "model.safetensors")
    refused(broken, "model.safetensors is damaged or is not safetensors")


def test_a_missing_shard(broken):
    (broken / "model-00002-of-00003.safetensors").unlink()
    refused(broken, "model-00002-of-00003.safetensors is missing", "(1 of 3 files)")


def test_a_missing_index(broken):
    (broken / "model.safetensors.index.json").unlink()
    refused(broken, "neither model.safetensors nor model.safetensors.index.json")


@pytest.mark.parametrize("keep", [0, 7, 100, 5000])
def test_a_cut_shard(broken, keep):
    shard = broken / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:keep])
    refused(broken, "model-00002-of-00003.safetensors is damaged", "download it again")


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"weight_map": 5}'])
def test_a_broken_index(broken, text):
    (broken / "model.safetensors.index.json").write_text(text)
    refused(broken, "model.safetensors.index.json is not a readable index")


@pytest.mark.parametrize("shard", ["../x.safetensors", "pytorch_model.bin", "x\n" * 2000, 5])
def test_an_index_that_names_what_is_not_there(broken, shard):
    index = json.dumps({"weight_map": {"a": shard}})
    (broken / "model.safetensors.index.json").write_text(index)
    refused(broken, "is missing, which model.safetensors.index.json names (1 of 1 files)")


def test_a_file_is_no_folder(broken):
    refused(broken / "config.json", "is a file; name its folder")
    (broken / "x.gguf").write_bytes(b"no gguf")
    refused(broken / "x.gguf", "is not a GGUF file")


# ---- what only loading shows ----


def load(folder, **model) -> None:
    LoRALoader(tiny_config(folder, **model)).load_model_and_tokenizer(seed=1)


def test_a_weight_that_the_config_wants_and_no_file_has(broken):
    config = json.loads((broken / "config.json").read_text())
    config["num_hidden_layers"] = 3
    config.pop("layer_types", None)
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError) as caught:
        load(broken, use_qlora=False)
    one_line(caught.value, "lacks the weights model.layers.2.")


@pytest.mark.parametrize("use_qlora", (False, True))
def test_weights_of_another_shape(broken, use_qlora):
    config = json.loads((broken / "config.json").read_text())
    config["intermediate_size"] = 96
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError) as caught:
        load(broken, use_qlora=use_qlora)
    one_line(caught.value, "cannot be loaded")


@pytest.mark.parametrize(
    "kind, words",
    [("no_such_architecture", "does not know its architecture"), ("vit", "not a causal language")],
)
def test_an_architecture_that_does_not_fit(broken, kind, words):
    config = json.loads((broken / "config.json").read_text())
    config["model_type"] = kind
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError) as caught:
        load(broken)
    one_line(caught.value, words)


def test_code_of_a_stranger_is_not_run(broken, tmp_path):
    canary = tmp_path / "canary"
    (broken / "code.py").write_text(f"open({str(canary)!r}, 'w')\nclass A: pass\n")
    config = json.loads((broken / "config.json").read_text())
    config |= {
        "model_type": "stranger",
        "auto_map": {"AutoConfig": "code.A", "AutoModelForCausalLM": "code.A"},
    }
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError) as caught:
        load(broken)
    one_line(caught.value, "Python code of its own, which is refused")
    assert not canary.exists()


@pytest.mark.parametrize("text", ["", "{", "{}", '{"model": {"type": "Nonsense"}}'])
def test_a_broken_tokenizer(broken, text):
    (broken / "tokenizer.json").write_text(text)
    with pytest.raises(UserError) as caught:
        LoRALoader(tiny_config(broken)).load_tokenizer()
    one_line(caught.value, "model.checkpoint")


# ---- a tokenizer made from GGUF ----


def test_a_tokenizer_that_lost_its_merges_is_known_by_its_spelling():
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    file = PROJECT_ROOT / "workflow/resources/models/tiny_llama/tokenizer.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    for merges, right in ((content["model"]["merges"], True), ([], False)):
        content["model"]["merges"] = merges
        backend = Tokenizer.from_str(json.dumps(content))
        assert _reads_words(PreTrainedTokenizerFast(tokenizer_object=backend)) is right
