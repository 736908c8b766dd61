"""Prompts: the exact texts, and the guards against the mistakes that trainers are known for."""

import pytest
from prompt_files import ENGLISH, KOREAN
from real_tokenizers import NAMES, load_tokenizer, made_tokenizer
from row_datasets import dataset_of

from yoyak.config.model_config import ModelConfig
from yoyak.data.dialogues import Dialogue
from yoyak.data.encoding import build_prompts, encode_answers
from yoyak.data.llm_dataset import IGNORED, create_llm_dataset
from yoyak.data.prompts import (
    AUGMENTATIONS,
    FORMATS,
    prompt_frames,
    stop_token_ids,
    supervised_stop_id,
)
from yoyak.errors import UserError

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONFIG = ModelConfig(model={"checkpoint": "a/b"})
DIALOGUE = "#Person1#: 예약을 바꾸고 싶어요.\n#Person2#: 네, #PhoneNumber#로 전화 주세요."
ROWS = [
    Dialogue("a", DIALOGUE, ("#Person1#은 예약을 바꾸고 싶어 한다.",)),
    Dialogue("b", "#Person1#: 👍🏽\n#Person2#: OK!", ("둘이 동의한다.", "다른 요약")),
]
every_tokenizer = pytest.mark.parametrize("name", NAMES)
every_format = pytest.mark.parametrize("prompt_format", FORMATS)


def ids_of(item, supervised):
    return item["input_ids"][(item["labels"] != IGNORED) == supervised].tolist()


def test_the_korean_instruction_prompt_word_for_word():
    frame = prompt_frames(made_tokenizer(), "instruction", KOREAN)[0]
    assert frame.around("{dialogue}") + "{summary}" == (
        "### Instruction:\n다음 대화를 간결하게 요약해주세요.\n\n### Input:\n{dialogue}\n\n"
        "### Response:\n{summary}"
    )


def test_the_korean_chat_prompt_word_for_word():
    tokenizer = made_tokenizer(chat_template=CHATML, special=("<|im_start|>", "<|im_end|>"))
    frame = prompt_frames(tokenizer, "chat", KOREAN)[0]
    assert frame.around("{dialogue}") == (
        "<|im_start|>system\n당신은 대화를 요약하는 전문가입니다.<|im_end|>\n"
        "<|im_start|>user\n다음 대화를 요약해주세요:\n{dialogue}<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize("prompts", [KOREAN, ENGLISH], ids=["ko", "en"])
@every_format
def test_there_are_five_different_requests(prompt_format, prompts):
    requests = getattr(prompts, prompt_format).requests
    assert len(set(requests)) == AUGMENTATIONS["templates"] == 5
    tokenizer = made_tokenizer(chat_template=CHATML, special=("<|im_start|>", "<|im_end|>"))
    frames = prompt_frames(tokenizer, prompt_format, prompts, "templates")
    assert [frame.request for frame in frames] == requests
    assert frames[0] == prompt_frames(tokenizer, prompt_format, prompts)[0]


@every_tokenizer
@every_format
def test_the_generation_prompt_is_an_exact_prefix_of_the_training_text(name, prompt_format):
    tokenizer = load_tokenizer(name)
    prompts, _ = build_prompts(ROWS, tokenizer, CONFIG, prompt_format, KOREAN)
    dataset = dataset_of(ROWS, tokenizer, CONFIG, prompt_format)
    for prompt, item in zip(prompts, dataset, strict=True):
        assert item["input_ids"][: len(prompt)].tolist() == prompt
        assert ids_of(item, supervised=False) == prompt


@every_tokenizer
def test_chat_ids_are_those_of_the_tokenizers_own_template(name):
    tokenizer = load_tokenizer(name)
    prompts, _ = build_prompts(ROWS, tokenizer, CONFIG, "chat", KOREAN)
    for row, prompt in zip(ROWS, prompts, strict=True):
        messages = [
            {"role": "system", "content": "당신은 대화를 요약하는 전문가입니다."},
            {"role": "user", "content": f"다음 대화를 요약해주세요:\n{row.dialogue}"},
        ]
        own = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, enable_thinking=False, return_dict=False
        )
        assert prompt == own
        # Tokenised as a whole, the template's finished conversation begins with our example.
        messages.append({"role": "assistant", "content": row.summary})
        whole = tokenizer.apply_chat_template(messages, enable_thinking=False, return_dict=False)
        item = dataset_of([row], tokenizer, CONFIG, "chat")[0]
        assert whole[: len(item["input_ids"])] == item["input_ids"].tolist()


@every_tokenizer
def test_instruction_ids_are_those_of_the_whole_text(name):
    tokenizer = load_tokenizer(name)
    frame = prompt_frames(tokenizer, "instruction", KOREAN)[0]
    for row, item in zip(ROWS, dataset_of(ROWS, tokenizer, CONFIG), strict=True):
        text = frame.around(row.dialogue) + row.summary
        whole = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert item["input_ids"].tolist() == [
            *frame.prefix_ids, *whole, tokenizer.eos_token_id
        ]  # fmt: skip


@every_tokenizer
@every_format
def test_exactly_one_bos_where_the_tokenizer_has_one(name, prompt_format):
    tokenizer = load_tokenizer(name)
    for item in dataset_of(ROWS, tokenizer, CONFIG, prompt_format):
        ids = item["input_ids"].tolist()
        if tokenizer.bos_token_id is None:
            continue
        assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1


def test_one_bos_from_a_tokenizer_that_adds_it_itself():
    tokenizer = made_tokenizer(bos="<s>", adds_bos=True, eos="</s>")
    ids = dataset_of(ROWS, tokenizer, CONFIG)[0]["input_ids"].tolist()
    assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1
    template = "{{ bos_token }}" + CHATML
    tokenizer = made_tokenizer(
        bos="<s>", adds_bos=True, chat_template=template, special=("<|im_start|>", "<|im_end|>")
    )
    ids = dataset_of(ROWS, tokenizer, CONFIG, "chat")[0]["input_ids"].tolist()
    assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1


def test_a_bos_that_is_really_the_start_of_a_turn_is_not_put_before_instructions():
    tokenizer = made_tokenizer(
        bos="<|im_start|>", eos="<|im_end|>", chat_template=CHATML, special=("<|im_end|>",)
    )
    ids = dataset_of(ROWS, tokenizer, CONFIG)[0]["input_ids"].tolist()
    assert tokenizer.bos_token_id not in ids


@every_tokenizer
@every_format
def test_the_last_supervised_token_is_the_stop_token(name, prompt_format):
    tokenizer = load_tokenizer(name)
    stop = supervised_stop_id(tokenizer, prompt_format)
    assert stop_token_ids(tokenizer, prompt_format)[0] == stop
    for row, item in zip(ROWS, dataset_of(ROWS, tokenizer, CONFIG, prompt_format), strict=True):
        supervised = ids_of(item, supervised=True)
        assert supervised[-1] == stop and supervised.count(stop) == 1
        assert tokenizer.decode(supervised[:-1]) == row.summary


@pytest.mark.parametrize(
    ("name", "chat", "instruction"),
    [
        ("llama3", ["<|eot_id|>", "<|end_of_text|>"], ["<|end_of_text|>", "<|eot_id|>"]),
        ("qwen3", ["<|im_end|>"], ["<|im_end|>"]),
    ],
)
def test_stop_tokens_of_the_real_tokenizers(name, chat, instruction):
    tokenizer = load_tokenizer(name)
    for prompt_format, tokens in (("chat", chat), ("instruction", instruction)):
        found = stop_token_ids(tokenizer, prompt_format)
        assert tokenizer.convert_ids_to_tokens(found) == tokens


def test_the_end_token_is_learned_though_it_is_the_padding_token_too():
    tokenizer = made_tokenizer(eos="<|end|>", pad="<|end|>")
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    item = dataset_of(ROWS, tokenizer, CONFIG)[0]
    assert item["labels"][-1] == item["input_ids"][-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("name", ["qwen3", "tiny_qwen3"])
def test_the_think_block_is_the_same_in_training_and_generation(name):
    tokenizer = load_tokenizer(name)
    prompt = tokenizer.decode(build_prompts(ROWS, tokenizer, CONFIG, "chat", KOREAN)[0][0])
    text = tokenizer.decode(dataset_of(ROWS, tokenizer, CONFIG, "chat")[0]["input_ids"])
    assert text.startswith(prompt)
    assert prompt.count("<think>") == text.count("<think>")
    if name == "qwen3":
        assert prompt.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_todays_date_never_enters_a_prompt():
    template = "{{ date_string }} {{ strftime_now('%Y-%m-%d') }} " + CHATML
    tokenizer = made_tokenizer(chat_template=template, special=("<|im_start|>", "<|im_end|>"))
    assert prompt_frames(tokenizer, "chat", KOREAN)[0].head.startswith("26 Jul 2024 26 Jul 2024 ")


@every_tokenizer
@every_format
def test_control_tokens_in_the_data_are_text(name, prompt_format):
    """A dialogue that quotes <|im_end|> must not end the turn, nor a summary the answer."""
    tokenizer = load_tokenizer(name)
    stops = [
        tokenizer.convert_ids_to_tokens(stop) for stop in stop_token_ids(tokenizer, prompt_format)
    ]
    evil = "".join(stops)
    plain, quoted = (
        dataset_of(
            [Dialogue("a", f"#Person1#: {text} 네", (f"요약 {text}",))],
            tokenizer, CONFIG, prompt_format,
        )[0]
        for text in ("", evil)
    )  # fmt: skip
    for token in stops:
        stop = tokenizer.convert_tokens_to_ids(token)
        assert quoted["input_ids"].tolist().count(stop) == plain["input_ids"].tolist().count(stop)
    assert len(quoted["input_ids"]) > len(plain["input_ids"])


@every_format
def test_speaker_tags_that_are_tokens_of_their_own_stay_so(prompt_format):
    tokenizer = made_tokenizer(
        chat_template=CHATML, special=("<|im_start|>", "<|im_end|>", "#Person1#")
    )
    ids = dataset_of(ROWS, tokenizer, CONFIG, prompt_format)[0]["input_ids"].tolist()
    assert tokenizer.convert_tokens_to_ids("#Person1#") in ids


def test_an_empty_answer_is_an_error():
    with pytest.raises(UserError, match="row 2: its summary holds no token"):
        encode_answers(["요약", " \n"], made_tokenizer(), "instruction")
    with pytest.raises(UserError, match="'x' has no summary"):
        dataset_of([Dialogue("x", "안녕")], made_tokenizer(), CONFIG)
    with pytest.raises(UserError, match="no dialogues"):
        dataset_of([], made_tokenizer(), CONFIG)


def refused(message, prompt_format="chat", **traits):
    with pytest.raises(UserError, match=message) as error:
        prompt_frames(made_tokenizer(**traits), prompt_format, KOREAN)
        supervised_stop_id(made_tokenizer(**traits), prompt_format)
    assert "\n" not in str(error.value)


def test_what_a_prompt_cannot_be_made_of():
    refused("no chat template, which format 'chat' needs; set model.chat_template: llama")
    refused("format: found 'poem', allowed are instruction, chat", prompt_format="poem")
    with pytest.raises(UserError, match="language: found 'fr', allowed are ko, en"):
        create_llm_dataset(["안녕"], ["인사"], made_tokenizer(), language="fr")
    refused("has no end token", prompt_format="instruction", eos=None)
    picky = "{{ raise_exception('no system, please') }}"
    refused("no system, please; use the instruction format", chat_template=picky)
    refused("shows the user's message 0 times", chat_template="{{ messages[0].content }}<|end|>")
    endless = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    refused("has no end token .* chat template writes none", chat_template=endless, eos=None)
    thinking = CHATML.replace("assistant\n", "assistant\n<think>\n")
    refused("opens a think block", chat_template=thinking, special=("<|im_start|>", "<|im_end|>"))
