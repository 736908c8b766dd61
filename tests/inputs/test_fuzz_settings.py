"""The readers of settings: YAML, model files with their bases, studies."""

import copy
import json
import re

import pytest
import yaml
from fuzzing import fuzz, json_values, mutated, read_or_refused
from hypothesis import strategies as st

from yoyak.config import loading
from yoyak.config.frozen import STEPS, freeze, thaw
from yoyak.config.loading import load_config
from yoyak.config.section import canonical
from yoyak.config.study import load_study
from yoyak.config.yaml_reader import load_yaml
from yoyak.data.splits import raw_data
from yoyak.errors import PROJECT_ROOT
from yoyak.models.checkpoints import resolve_checkpoint

CONFIG = PROJECT_ROOT / "config"
BASE = CONFIG / "base" / "causal_lm.yaml"
SAMPLES = {
    kind: [file.read_bytes() for file in sorted((CONFIG / kind).glob("*.yaml"))]
    for kind in ("models", "studies")
}
TOKENS = (
    "\t|\n|: |- |[|]|{|}|&a |*a|!!python/name:os.system |!!binary |<<: |? |# |'|\"|---\n|...\n"
    "|%YAML|.nan|.inf|-.inf|1e999|0x10|0o7|1_000|1:30|2026-01-01|null|~|true|yes|\ufeff|\0|\x07|\x85"
    "|\u2028|_base_: |../|causal_lm.yaml|model:|model: |lora:\n  r: |[[|{{|  |\r\n|>-\n|@|`|&|*"
).encode().split(b"|")  # fmt: skip
TOKENS += [b"|", b"|\n  ", "한국어: ".encode(), b"\xff", b"9" * 400]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A config/ of its own with one file in it that the test writes."""
    for part in ("base", "models", "studies"):
        (tmp_path / "config" / part).mkdir(parents=True)
    (tmp_path / "config" / "base" / "causal_lm.yaml").write_bytes(BASE.read_bytes())
    (tmp_path / "config" / "models" / "tiny_llama.yaml").write_bytes(
        (CONFIG / "models" / "tiny_llama.yaml").read_bytes()
    )
    monkeypatch.setattr(loading, "CONFIG", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config"


@st.composite
def with_one_value_changed(draw, content: dict) -> bytes:
    """YAML of `content` with one or two values, anywhere in it, replaced by anything."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 2))):
        place, key = content, None
        while isinstance(place, dict) and place:
            parent, key = place, draw(st.sampled_from(sorted(place)))
            place = place[key]
            if draw(st.integers(0, 3)) == 0:
                break
        parent[key] = draw(json_values())
    if draw(st.booleans()):
        text = json.dumps(content, ensure_ascii=draw(st.booleans()))
    else:
        text = yaml.safe_dump(content, allow_unicode=draw(st.booleans()))
    return text.encode("utf-8", "surrogatepass")


def test_any_yaml(folder):
    file = folder / "any.yaml"

    def check(raw):
        file.write_bytes(raw)
        content = read_or_refused(load_yaml, file)
        if content is not None:
            assert isinstance(content, dict)
            assert all(isinstance(key, str) for key in content)

    samples = SAMPLES["models"] + SAMPLES["studies"]
    fuzz(mutated(samples, TOKENS), check, examples=80)


def test_model_files(folder):
    file = folder / "models" / "mine.yaml"
    whole = yaml.safe_load(BASE.read_text())
    whole["model"]["checkpoint"] = "a/b"

    def check(raw):
        file.write_bytes(raw)
        for debug in (False, True):
            config = read_or_refused(load_config, "mine", debug)
            if config is None:
                continue
            assert json.loads(canonical(config))
            read_or_refused(resolve_checkpoint, config.model)

    inputs = with_one_value_changed(whole) | mutated(SAMPLES["models"], TOKENS)
    fuzz(inputs, check, examples=80)


def test_study_files(folder):
    file = folder / "studies" / "mine.yaml"
    study = yaml.safe_load((CONFIG / "studies" / "embedded.yaml").read_text())
    study |= {"models": ["tiny_llama"], "overrides": {"training": {"max_steps": 5}, "lora": {}}}
    study["data"] |= {
        "columns": {"fname": "f", "dialogue": "d", "summaries": ["s"], "topic": "t", "group": "g"},
        "selection": "held_out",
    }
    samples = [json.dumps(study, indent=1).encode(), yaml.safe_dump(study).encode()]

    def check(raw):
        file.write_bytes(raw)
        read = read_or_refused(load_study, "mine")
        if read is None:
            return
        for step, (_, of_model) in STEPS.items():
            for model in read.models if of_model else [None]:
                thaw(freeze(read, step, model))
        for cell in read.trainings()[:20]:
            assert re.fullmatch(r"runs/[\w.-]+/default/\w+/\w+/seed[0-9]+", cell.folder)
            assert ".." not in cell.folder.split("/")
        for split in ("train", "dev", "test"):
            if getattr(read.settings.data, split):
                read_or_refused(raw_data, "mine", read.settings.data, split)

    inputs = with_one_value_changed(study) | mutated(samples, TOKENS)
    fuzz(inputs, check, examples=80)


@pytest.mark.parametrize("read", [load_config, load_study])
def test_names(folder, read):
    def check(name):
        assert read_or_refused(read, name) is None

    texts = st.text(max_size=30) | st.sampled_from(["../base/causal_lm", "x" * 5000, "a\0b", "-h"])
    fuzz(texts.filter(lambda name: name != "tiny_llama"), check, examples=50)
