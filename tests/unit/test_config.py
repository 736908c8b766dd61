"""Model files: what they may say, and what they may not; every key at its edges: test_edges.py."""

import textwrap

import pytest

from yoyak.config import loading
from yoyak.config.loading import load_config, load_yaml
from yoyak.config.model_config import ModelConfig
from yoyak.config.section import canonical, section_of
from yoyak.errors import PROJECT_ROOT, UserError

MODEL_FILES = sorted(file.stem for file in (loading.CONFIG / "models").glob("*.yaml"))


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A config/ of its own: returns a function that writes one file of it."""
    folder = tmp_path / "config" / "models"
    folder.mkdir(parents=True)
    base = PROJECT_ROOT / "config" / "base" / "causal_lm.yaml"
    (tmp_path / "config" / "base").mkdir()
    (tmp_path / "config" / "base" / "causal_lm.yaml").write_bytes(base.read_bytes())
    monkeypatch.setattr(loading, "CONFIG", tmp_path / "config")
    monkeypatch.chdir(tmp_path)

    def write(text, name="mine"):
        content = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
        (folder / f"{name}.yaml").write_bytes(content)

    write(mine("model: {checkpoint: a/b}"), name="valid")
    return write


def refused(*words, name="mine") -> str:
    with pytest.raises(UserError) as caught:
        load_config(name)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600
    for word in words:
        assert word in text, text
    return text


def mine(lines: str) -> str:
    return f"_base_: ../base/causal_lm.yaml\n{textwrap.dedent(lines)}"


@pytest.mark.parametrize("name", MODEL_FILES)
def test_every_model_file_is_valid(name):
    assert load_config(name).model.checkpoint


@pytest.mark.parametrize(
    "name, checkpoint, template, dtype, batch, gigabytes",
    [
        ("llama_3.2_3b", "Bllossom/llama-3.2-Korean-Bllossom-3B", "llama", "bf16", (8, 8), 8),
        ("qwen3_4b", "Qwen/Qwen3-4B-Instruct-2507", "qwen", "fp16", (6, 10), 10),
        ("llama_3_8b", "MLP-KTLim/llama-3-Korean-Bllossom-8B", "llama", "bf16", (8, 8), 16),
    ],
)
def test_the_three_large_models_have_the_set_values(
    name, checkpoint, template, dtype, batch, gigabytes
):
    config = load_config(name)
    model, lora, training = config.model, config.lora, config.training
    assert (model.checkpoint, model.chat_template) == (checkpoint, template)
    assert (lora.use_lora, lora.use_qlora, lora.double_quant) == (True, True, True)
    assert model.dtype == dtype
    assert (lora.r, lora.alpha, lora.dropout) == (16, 32, 0.05)
    assert lora.target_modules == "auto"  # the seven projections: test_architecture.py
    assert (training.batch_size, training.gradient_accumulation_steps) == batch
    assert (training.epochs, training.learning_rate) == (3, 2e-5)
    assert training.lr_scheduler_type == "cosine"
    assert (training.warmup_ratio, training.weight_decay, training.max_grad_norm) == (0.1, 0.1, 1.2)
    assert (config.tokenizer.encoder_max_len, config.tokenizer.decoder_max_len) == (1024, 200)
    assert config.resources.expected_gpu_memory_gb == gigabytes
    assert config.tracking.report_to == []


def test_debug_is_one_epoch_of_batch_two_without_tracking():
    config = load_config("llama_3.2_3b", debug=True)
    training = config.training
    assert (training.epochs, training.batch_size) == (1, 2)
    assert training.gradient_accumulation_steps == 1
    assert config.tracking.report_to == []


def test_a_model_file_may_build_on_another(models):
    models(mine("model: {checkpoint: a/b}\ntraining: {epochs: 5}"), name="first")
    models("_base_: first.yaml\nlora: {r: 64}")
    config = load_config("mine")
    assert (config.model.checkpoint, config.training.epochs) == ("a/b", 5)
    assert (config.lora.r, config.lora.alpha) == (64, 32)


@pytest.mark.parametrize("name", [name for name in MODEL_FILES if name.endswith("_tuned")])
def test_a_tuned_variant_differs_in_few_keys(name):
    plain, tuned = (load_config(each) for each in (name.removesuffix("_tuned"), name))
    assert plain.model.checkpoint == tuned.model.checkpoint
    plain, tuned = plain.model_dump(), tuned.model_dump()
    differing = {
        f"{part}.{key}"
        for part in plain.keys() - {"experiment"}
        for key in plain[part]
        if plain[part][key] != tuned[part][key]
    }
    assert "training.learning_rate" in differing and len(differing) <= 4


def test_numbers_are_numbers_however_written(models):
    models(
        mine("""\
        model: {checkpoint: a/b, revision: "12e5"}
        training: {learning_rate: 2e-5, max_steps: 1e3}
        lora: {r: 16.0, alpha: 32.0}
        """)
    )
    config = load_config("mine")
    assert config.training.learning_rate == 2e-5
    assert config.model.revision == "12e5"
    assert (config.lora.r, config.training.max_steps) == (16, 1000)
    assert isinstance(config.lora.r, int)
    models(mine("model: {checkpoint: a/b, revision: '12e5'}\nlora: {r: 16, alpha: 32}"), "other")
    assert canonical(config.lora) == canonical(load_config("other").lora)


def test_order_of_targets_is_no_setting(models):
    models(mine("model: {checkpoint: a/b}\nlora: {target_modules: [v_proj, q_proj]}"))
    assert load_config("mine").lora.target_modules == ["q_proj", "v_proj"]


def test_a_file_with_a_bom_is_read(models):
    models(b"\xef\xbb\xbf" + mine("model: {checkpoint: a/b}").encode())
    assert load_config("mine").model.checkpoint == "a/b"


# ---- what is refused ----


@pytest.mark.parametrize("old, new", sorted(ModelConfig.renamed.items()))
def test_a_key_of_an_earlier_version_is_refused_with_its_new_name(models, old, new):
    section, key = old.split(".")
    models(f"_base_: valid.yaml\n{section}: {{{key}: 1}}")
    refused(f"unknown key '{old}': it is now called {new}", "config/models/mine.yaml")
    name = new.partition(" ")[0].split(".")
    assert name[1] in SECTIONS[name[0]] and key not in SECTIONS[section]


def test_unknown_model_lists_the_known_ones():
    text = refused("tiny_llama", "did you mean 'llama_3_8b'", name="llama_3_8")
    assert "config/models/llama_3_8.yaml" in text


@pytest.mark.parametrize(
    "name",
    ["../base/causal_lm", "/etc/passwd", "", ".", "..", "a/../tiny_llama", "tiny_llama\n", "a\0b"]
    + ["x" * 5000, "tiny_llama.yaml", "tiny llama", "$(touch x)", "\x1b[2J"],
)
def test_a_name_never_leaves_the_folder(name):
    text = refused("model '", name=name)
    assert "a name" in text or "no such file" in text
    assert text.isprintable()


SECTIONS = {
    name: section_of(field.annotation).model_fields
    for name, field in ModelConfig.model_fields.items()
}


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_unknown_key_at_every_level(models, section):
    models(f"_base_: valid.yaml\n{section}_: 1")
    refused(f"unknown key '{section}_'", f"did you mean '{section}'", "config/models/mine.yaml")
    key = sorted(SECTIONS[section])[0]
    models(f"_base_: valid.yaml\n{section}: {{{key}x: 1}}")
    refused(f"unknown key '{section}.{key}x'", f"did you mean '{key}'", "allowed here")


@pytest.mark.parametrize(
    "lines, words",
    [
        ("training: {epochs: true}", ("training.epochs: found true", "a number")),
        ("training: {epochs: 0}", ("more than 0",)),
        ("training: {learning_rate: fast}", ('found "fast"', "a number")),
        ("training:", ("training: found null", "a mapping")),
        ("lora: {target_modules: []}", ("not empty", "all-linear")),
        ("lora: {r: 2.5}", ("lora.r: found 2.5", "a whole number")),
        ("model: {revision: 1234567}", ("model.revision", "in quotes")),
        ("training: {learning_rate: .nan}", ("training.learning_rate: found NaN",)),
        ("lora: {alpha: -.inf}", ("lora.alpha: found -Infinity",)),
        ("lora: {alpha: 1e999}", ("lora.alpha: found Infinity",)),
        ("model: {checkpoint: !!binary aGk=}", ("model.checkpoint: found", "a text")),
        ('model: {checkpoint: "\\e[31m"}', ("model.checkpoint: found", "one line")),
        ("execution: {threads: many}", ("'auto' or a whole number",)),
        ("execution: {device: 'cuda:0; rm -rf /'}", ("execution.device",)),
        ("lora: {use_lora: false}", ("use_qlora: false",)),
        ("experiment: {tags: ['..']}", ("experiment.tags", "no dot first")),
        ("generation: {num_beams: 0}", ("generation.num_beams: found 0", "at least 1")),
        ("generation: {repetition_penalty: 0}", ("repetition_penalty: found 0", "more than 0")),
        ("generation: {no_repeat_ngram_size: -1}", ("no_repeat_ngram_size: found -1", "at least")),
        ("generation: {length_penalty: 2}", ("without beams", "generation.num_beams to 2")),
    ],
)
def test_a_fault_says_found_and_allowed(models, lines, words):
    models(f"_base_: valid.yaml\n{lines}")
    refused(*words)


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", ("holds nothing", "mapping")),
        (b"# only a comment\n", ("holds nothing",)),
        (b"- a\n- b\n", ("holds a list",)),
        (b"just text", ("holds a str",)),
        (b"model: {checkpoint: \xb0\xa1}", ("not UTF-8", "byte 20")),
        (b"a: 1\n\tb: 2\n", ("line 2", "tab")),
        (b"a: 1\nb: 2\na: 3\n", ("line 3", "duplicate key 'a'")),
        (b"x: {y: 1, y: 2}\n", ("duplicate key 'y'",)),
        (b"a: &n [1]\nb: *n\n", ("line 2", "aliases")),
        (b"a: " + b"9" * 5000, ("not valid YAML",)),
        (b"a: " + b"[" * 20000, ("not valid YAML: maximum recursion depth",)),
        (b"a: !!python/object/apply:os.system [id]\n", ("line 1", "could not determine")),
        (b'a: "x\\ud83d"\n', ("not valid YAML: ", "surrogates not allowed")),
        (b"1: x\n", ("line 1", "a key must be a text")),
        (b"on: x\n", ("a key must be a text, in quotes",)),
        (b"? [a, b]\n: x\n", ("a key must be a text",)),
        (b"a: [1, 2\n", ("not valid YAML", "line")),
        (b"a: 'open\n", ("not valid YAML",)),
        (b"a: \x00\n", ("not valid YAML",)),
        (b"--- \na: 1\n--- \nb: 2\n", ("not valid YAML",)),
    ],
)
def test_a_malformed_file_is_one_line(models, content, words):
    models(content)
    refused("config/models/mine.yaml", *words)


def test_a_date_is_a_text(tmp_path):
    (tmp_path / "x.yaml").write_text("a: 2026-01-01\nb: 1:30\nc: 1.2.3\nd: -2E3\n")
    content = load_yaml(tmp_path / "x.yaml")
    assert content == {"a": "2026-01-01", "b": "1:30", "c": "1.2.3", "d": -2000.0}


# ---- _base_ ----


def test_a_circle_is_shown(models):
    models("_base_: second.yaml", name="mine")
    models("_base_: mine.yaml", name="second")
    refused("circular", "mine.yaml → ", "second.yaml")
    models("_base_: mine.yaml", name="mine")
    refused("circular")


@pytest.mark.parametrize(
    "base, words",
    [
        ("../../outside.yaml", ("outside config/",)),
        ("/etc/hostname", ("outside config/",)),
        ("../../config/models/../../outside.yaml", ("outside config/",)),
        ("nothing.yaml", ("is not a file",)),
        ("../models", ("is not a file",)),
        ("[a.yaml, b.yaml]", ("path of one YAML file",)),
        ("7", ("path of one YAML file",)),
        ('"' + "x" * 5000 + '"', ("_base_",)),
        ('"a\\0b"', ("_base_",)),
    ],
)
def test_a_base_stays_inside_config(models, tmp_path, base, words):
    (tmp_path / "outside.yaml").write_text("model: {checkpoint: a/b}")
    models(f"_base_: {base}")
    refused(*words)


def test_a_link_out_of_config_is_outside(models, tmp_path):
    (tmp_path / "outside.yaml").write_text("model: {checkpoint: a/b}")
    (tmp_path / "config" / "models" / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    models("_base_: link.yaml")
    refused("outside config/")


def test_a_file_without_a_base_is_whole(models):
    models("model: {checkpoint: a/b}\ntraining: {epochs: 1}")
    config = load_config("mine")
    assert (config.training.epochs, config.training.batch_size, config.lora.r) == (1, 8, 16)
    models("training: {epochs: 1}")
    refused("key 'model' is missing")
