"""Chat templates and tokens for tokenizers without: only what lacks, and a pad that is not eos."""

import copy

import pytest
from real_tokenizers import NAMES, load_tokenizer
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from yoyak.errors import UserError
from yoyak.models.chat_tokens import FAMILIES, add_chat_tokens, set_padding

CHAT = [
    {"role": "system", "content": "요약 전문가"},
    {"role": "user", "content": "  대화 "},
    {"role": "assistant", "content": "요약"},
]


def make(words=(), **special) -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(["<unk>", "</s>", *words])}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>")),
        **{"eos_token": "</s>", **special},
    )


@pytest.mark.parametrize("family", list(FAMILIES))
def test_only_lacking_tokens_are_added(family):
    tokens = FAMILIES[family][1]
    tokenizer = make(words=tokens[:1])
    added = add_chat_tokens(tokenizer, family)
    assert tokenizer.convert_ids_to_tokens(added) == tokens[1:]
    assert len(tokenizer) == 3 + len(tokens) - 1
    assert add_chat_tokens(tokenizer, family) == []  # it has a template now


def test_all_tokens_there_means_no_new_row():
    tokenizer = make(words=FAMILIES["qwen"][1])
    assert add_chat_tokens(tokenizer, "qwen") == []
    assert tokenizer.chat_template == FAMILIES["qwen"][0]


def test_each_added_token_is_one_id():
    tokenizer = make()
    ids = add_chat_tokens(tokenizer, "llama")
    text = "".join(FAMILIES["llama"][1])
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == ids


def test_no_template_is_asked_for():
    tokenizer = make()
    assert add_chat_tokens(tokenizer, None) == [] and tokenizer.chat_template is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_template_of_its_own_is_left_alone(name, family):
    tokenizer = load_tokenizer(name)
    before = (tokenizer.chat_template, len(tokenizer))
    assert before[0] and add_chat_tokens(tokenizer, family) == []
    assert (tokenizer.chat_template, len(tokenizer)) == before


def test_an_unknown_family_is_refused():
    with pytest.raises(UserError, match="found 'alpaca', allowed are llama, qwen"):
        add_chat_tokens(make(), "alpaca")


@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize("bos", [None, "<s>"])
def test_the_prompt_is_a_prefix_of_the_training_text(family, bos):
    tokenizer = make(words=["<s>"], **({"bos_token": bos} if bos else {}))
    add_chat_tokens(tokenizer, family)
    whole = tokenizer.apply_chat_template(CHAT, tokenize=False)
    prompt = tokenizer.apply_chat_template(CHAT[:2], tokenize=False, add_generation_prompt=True)
    assert whole.startswith(prompt)
    assert whole.removeprefix(prompt).startswith("요약")
    assert whole.count("<s>") == (1 if bos and family != "qwen" else 0)


@pytest.mark.parametrize("name", ["llama3", "qwen3"])
def test_the_family_template_agrees_with_the_real_one(name):
    """The same special tokens around the same messages, whatever the real one writes before."""
    real = load_tokenizer(name)
    ours = copy.deepcopy(real)
    ours.chat_template = None
    added = add_chat_tokens(ours, {"llama3": "llama", "qwen3": "qwen"}[name])
    assert added == []  # the real tokenizers have the tokens
    chat = [CHAT[0], {"role": "user", "content": "대화"}]
    options = {"tokenize": False, "add_generation_prompt": True}
    assert ours.apply_chat_template(chat, **options) == real.apply_chat_template(chat, **options)


# ---- padding ----


@pytest.mark.parametrize("name", ["tiny_llama", "tiny_qwen3", "llama3"])
def test_pad_is_not_the_end_token(name):
    tokenizer = copy.deepcopy(load_tokenizer(name))
    size = len(tokenizer)
    set_padding(tokenizer)
    assert tokenizer.pad_token_id is not None and len(tokenizer) == size
    assert (tokenizer.padding_side, tokenizer.truncation_side) == ("left", "left")
    if name != "llama3":  # its npm release has neither a pad token nor a known stand-in
        assert tokenizer.pad_token_id != tokenizer.eos_token_id


def test_a_stand_in_is_preferred_to_the_end_token():
    tokenizer = make(words=["<|finetune_right_pad_id|>"])
    set_padding(tokenizer)
    assert tokenizer.pad_token == "<|finetune_right_pad_id|>"
    same = make(words=["<|endoftext|>"], pad_token="</s>")  # as SmolLM2's
    set_padding(same)
    assert same.pad_token == "<|endoftext|>"
    lonely = make()
    set_padding(lonely)
    assert lonely.pad_token == lonely.eos_token
    given = make(words=["<mine>"], pad_token="<mine>")
    set_padding(given)
    assert given.pad_token == "<mine>"
