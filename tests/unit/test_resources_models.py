"""The embedded models: size, tokenizer, template, and what their pretraining text leaves out."""

import csv
import itertools
import json
import re
from pathlib import Path

import pytest

RESOURCES = Path(__file__).resolve().parents[2] / "workflow" / "resources"
MODELS = {"tiny_llama": "LlamaForCausalLM", "tiny_qwen3": "Qwen3ForCausalLM"}
SAMPLE = "#Person1#: 다음 주 수요일 오후 2시에 #PhoneNumber#로 전화 주세요.\n#Person2#: 네!"
MESSAGES = [
    {"role": "system", "content": "당신은 도우미입니다."},
    {"role": "user", "content": "질문:\n#Person1#: 네."},
    {"role": "assistant", "content": "#Person1#은 대답합니다."},
]


def rows(split):
    with open(RESOURCES / "dialogues" / f"{split}.csv", encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture
def pretraining_text(monkeypatch):
    monkeypatch.syspath_prepend(str(RESOURCES / "models"))
    import pretraining_text

    return pretraining_text


@pytest.fixture(scope="module", params=sorted(MODELS))
def folder(request):
    return RESOURCES / "models" / request.param


@pytest.fixture(scope="module")
def tokenizer(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def test_weights_are_small_and_load(folder):
    from transformers import AutoModelForCausalLM

    weights = folder / "model.safetensors"
    assert weights.stat().st_size <= 8 * 1024 * 1024
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert type(model).__name__ == MODELS[folder.name]
    for name, parameter in model.named_parameters():
        if name.endswith("_proj.weight"):
            assert all(size % 64 == 0 for size in parameter.shape), name


def test_pretraining_is_recorded_and_helped(folder):
    record = json.loads((folder / "pretraining.json").read_text())
    assert record["perplexity_after"] < 3 < record["perplexity_before"]
    assert record["dialogues_after"] < 3 < record["dialogues_before"]
    assert "pretrain_tiny_models.py" in record["command"]
    assert "/" not in record["command"].split(" ", 1)[1].replace("workflow/resources/models/", "")
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert str(record["seed"]) in readme
    assert f"{record['perplexity_after']:.2f}" in readme


def test_tokenizer_gives_korean_back(tokenizer):
    ids = tokenizer(SAMPLE, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == SAMPLE
    assert len(ids) < len(SAMPLE) / 1.5
    for strange in ("뷁 😀 tab\tEnglish №", "\\n<br>"):
        ids = tokenizer(strange, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == strange
    for tag in range(1, 6):
        assert len(tokenizer(f"#Person{tag}#", add_special_tokens=False)["input_ids"]) == 1


def test_special_tokens(tokenizer):
    assert tokenizer.pad_token != tokenizer.eos_token
    assert tokenizer.padding_side == "left"
    assert tokenizer.truncation_side == "left"
    assert tokenizer.eos_token in ("<|eot_id|>", "<|im_end|>")


def test_template_has_one_bos_and_the_prompt_is_a_prefix(tokenizer):
    whole = tokenizer.apply_chat_template(MESSAGES, tokenize=False)
    prompt = tokenizer.apply_chat_template(MESSAGES[:2], tokenize=False, add_generation_prompt=True)
    assert whole.startswith(prompt)
    assert whole[len(prompt) :].strip() == MESSAGES[2]["content"] + tokenizer.eos_token
    ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
    bos = tokenizer.bos_token_id
    if bos is not None:
        assert ids.count(bos) == 1
        assert ids[0] == bos
        assert tokenizer(SAMPLE)["input_ids"].count(bos) == 1
    assert ids.count(tokenizer.eos_token_id) == 3


def spoken(document):
    return document if isinstance(document, str) else "\n".join(m["content"] for m in document)


def test_pretraining_text_holds_no_dev_or_test_dialogue(pretraining_text):
    banned = {pretraining_text.plain(r["dialogue"]) for s in ("dev", "test") for r in rows(s)}
    assert pretraining_text.forbidden() == banned
    made = list(itertools.islice(pretraining_text.fresh_dialogues("a test"), 1_500))
    assert not banned & {pretraining_text.plain(dialogue.text) for dialogue, _ in made}
    for document in itertools.islice(pretraining_text.documents("a test"), 1_500):
        text = pretraining_text.plain(spoken(document))
        assert not any(dialogue in text for dialogue in banned)


def test_a_dialogue_of_dev_would_be_dropped(pretraining_text, monkeypatch):
    """The ban works: the first dialogue of a stream vanishes once it is declared a dev dialogue."""
    first = next(pretraining_text.fresh_dialogues("ban"))[0]
    monkeypatch.setattr(pretraining_text, "forbidden", lambda: {pretraining_text.plain(first.text)})
    assert next(pretraining_text.fresh_dialogues("ban"))[0].text != first.text


def test_pretraining_text_holds_no_unseen_situation(pretraining_text):
    situations = pretraining_text.load_situations()
    unseen = {s["key"] for s in situations if s["group"] == "unseen"}
    made = itertools.islice(pretraining_text.fresh_dialogues("groups"), 1_500)
    assert not unseen & {dialogue.situation for dialogue, _ in made}
    seen_turns = json.dumps([s for s in situations if s["group"] == "seen"], ensure_ascii=False)
    own = {
        line
        for s in situations
        if s["group"] == "unseen"
        for line in s["open"].splitlines()
        if len(line) > 12 and line not in seen_turns
    }
    fixed = {re.split(r"[{\[]", line.strip().split(": ", 1)[-1])[0] for line in own}
    fixed = {piece for piece in fixed if len(piece) > 8}
    assert len(fixed) >= 5
    text = "\n".join(
        spoken(d) for d in itertools.islice(pretraining_text.documents("groups"), 1_500)
    )
    assert not [piece for piece in fixed if piece in text]


def test_pretraining_text_holds_no_summary(pretraining_text):
    text = "\n".join(
        spoken(d) for d in itertools.islice(pretraining_text.documents("summaries"), 1_500)
    )
    summaries = {
        r[c]
        for split in ("train", "dev")
        for r in rows(split)
        for c in ("summary", "summary2", "summary3")
        if c in r
    }
    assert not [summary for summary in summaries if summary in text]
    assert "요약해" not in text
