"""Control tokens are kept out of texts and summaries; speaker tags and masks are words."""

import random

import pytest
from real_tokenizers import NAMES, load_tokenizer, made_tokenizer
from row_datasets import dataset_of

from yoyak.config.model_config import ModelConfig
from yoyak.data.control_tokens import (
    break_control_tokens,
    control_token_pattern,
    control_tokens,
    decode_summaries,
)
from yoyak.data.dialogues import Dialogue

CONFIG = ModelConfig(model={"checkpoint": "a/b"})
TEMPLATE = (
    "{% for m in messages %}<{{ 'bot' if m.role == 'assistant' else 'human' }}>{{ m.content }}"
    "<fin>{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}{# <human> #}"
)
CONTROL = [
    *("<s>", "</s>", "<pad>", "[UNK]", "<mask>", "<|im_end|>", "<｜end▁of▁sentence｜>"),
    *("[|endofturn|]", "<start_of_turn>", "<end_of_turn>", "[INST]", "<unused12>"),
    *("<extra_id_0>", "<tool_call>", "<think>", "</think>", "[gMASK]", "<sop>"),
    *("<EOS_TOKEN>", "<fim_prefix>", "[TOOL_CALLS]", "<SPECIAL_20>", "[@BOS@]", "[/INST]"),
    *("<|reserved_special_token_7|>", "<image_soft_token>", "<human>", "<fin>"),
]  # fmt: skip
OF_THE_DATA = [
    *("#Person1#", "#PhoneNumber#", "<NAME>", "<name>", "[이름]", "<화자1>", "[PHONE_NUM]", "<P1>"),
    *("<|Person1|>", "<|화자2|>", "[speaker 3]", "@이름@", "PI:EMAIL", "<S1>", "<url>"),
]


@pytest.mark.parametrize("special", [True, False])
def test_control_tokens_are_told_by_their_form(special):
    tokenizer = made_tokenizer(chat_template=TEMPLATE)
    tokenizer.add_tokens([*CONTROL, *OF_THE_DATA], special_tokens=special)
    assert control_tokens(tokenizer) == {*CONTROL, "<|end|>"}


def test_named_tokens_are_control_tokens_whatever_their_form():
    tokenizer = made_tokenizer(bos="BEGIN", eos="#끝#", pad=" END", special=("#Person1#", "#다음#"))
    tokenizer.named_end_ids = [tokenizer.convert_tokens_to_ids("#다음#")]
    assert control_tokens(tokenizer) == {"BEGIN", "#끝#", " END", "#다음#"}
    assert (
        break_control_tokens("#Person1# #끝# END", control_token_pattern(tokenizer))
        == "#Person1# # 끝# END"
    )


@pytest.mark.parametrize("name", NAMES)
def test_ordinary_summaries_are_decoded_as_ever(name):
    """Special tokens, added ones, pieces of characters and blanks: the text of transformers."""
    tokenizer = load_tokenizer(name)
    draw = random.Random(3)
    added = list(tokenizer.added_tokens_decoder)
    rows = [
        [draw.choice([draw.choice(added), draw.randrange(len(tokenizer))]) for _ in range(60)]
        for _ in range(40)
    ]
    rows.append(
        tokenizer(" 두 사람은 , 내일 . <|im_end|> don 't", add_special_tokens=False)["input_ids"]
    )
    expected = tokenizer.batch_decode(rows, skip_special_tokens=True)
    assert decode_summaries(tokenizer, rows) == expected
    special = {str(t) for t in tokenizer.added_tokens_decoder.values() if t.special}
    assert special <= control_tokens(tokenizer)


@pytest.mark.parametrize("prompt_format", ["instruction", "chat"])
def test_tags_that_are_special_tokens_stand_in_prompts_answers_and_summaries(prompt_format):
    tokenizer = made_tokenizer(chat_template=TEMPLATE, special=("<human>", "<bot>", "<fin>"))
    tags = ["#Person1#", "<NAME>", "[이름]"]
    tokenizer.add_special_tokens({"extra_special_tokens": tags})
    summary = "#Person1#은 <NAME>에게 [이름]을 묻는다."
    rows = [Dialogue("a", f"#Person1#: <NAME> [이름] <fin>\n{summary}", (summary,))]
    item = dataset_of(rows, tokenizer, CONFIG, prompt_format)[0]
    for tag in tokenizer.convert_tokens_to_ids(tags):
        assert item["input_ids"].tolist().count(tag) == 3
    answer = item["input_ids"][item["labels"] >= 0].tolist()
    control = tokenizer.convert_tokens_to_ids(["<bot>", "<fin>"])
    assert decode_summaries(tokenizer, [[control[0], *answer, *control], []]) == [summary, ""]
