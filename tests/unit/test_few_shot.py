"""Few-shot prompts: the same solved examples before every dialogue, of which alone is ever cut."""

import pytest
from prompt_files import KOREAN
from real_tokenizers import NAMES, load_tokenizer, made_tokenizer

from yoyak.config.model_config import ModelConfig
from yoyak.data.dialogues import Dialogue
from yoyak.data.encoding import build_prompts
from yoyak.data.few_shot import choose_examples, few_shot_frame, few_shot_record
from yoyak.data.prompts import FORMATS, prompt_frames
from yoyak.errors import UserError

EXAMPLES = [
    Dialogue(
        "a", "#Person1#: 예약을 바꿔 주세요.\n#Person2#: 네.", ("예약을 바꾼다.", "다른 요약")
    ),
    Dialogue("b", "#Person1#: 밥 먹었어?\n#Person2#: 아니.", ("점심을 묻는다.",)),
]
ROW = Dialogue("c", "#Person1#: 몇 시예요?\n#Person2#: 세 시요.", ("시각을 묻는다.",))
TURNS = [f"#Person{1 + n % 2}#: {n}번째 말이에요." for n in range(300)]
LONG = Dialogue("d", "\n".join(TURNS), ("말이 길다.",))
every_tokenizer = pytest.mark.parametrize("name", NAMES)
every_format = pytest.mark.parametrize("prompt_format", FORMATS)


def settings(limit: int) -> ModelConfig:
    return ModelConfig(model={"checkpoint": "a/b"}, tokenizer={"encoder_max_len": limit})


def decoded(tokenizer, rows, prompt_format, limit=1024, examples=EXAMPLES):
    prompts, shortened = build_prompts(
        rows, tokenizer, settings(limit), prompt_format, KOREAN, examples
    )
    assert max(map(len, prompts)) <= limit
    return [tokenizer.decode(ids) for ids in prompts], shortened


@every_tokenizer
def test_the_instruction_prompt_word_for_word(name):
    tokenizer = load_tokenizer(name)
    [text], _ = decoded(tokenizer, [ROW], "instruction")
    stop = tokenizer.eos_token
    assert text.removeprefix(tokenizer.bos_token or "") == (
        "### Instruction:\n다음 대화를 간결하게 요약해주세요.\n\n"
        f"### Input:\n{EXAMPLES[0].dialogue}\n\n### Response:\n예약을 바꾼다.{stop}\n\n"
        f"### Input:\n{EXAMPLES[1].dialogue}\n\n### Response:\n점심을 묻는다.{stop}\n\n"
        f"### Input:\n{ROW.dialogue}\n\n### Response:\n"
    )


@every_tokenizer
def test_chat_ids_are_those_of_the_tokenizers_own_template(name):
    tokenizer = load_tokenizer(name)
    messages = [{"role": "system", "content": KOREAN.chat.system}]
    for row in EXAMPLES:
        asked = f"다음 대화를 요약해주세요:\n{row.dialogue}"
        messages.append({"role": "user", "content": asked})
        messages.append({"role": "assistant", "content": row.summary})
    messages.append({"role": "user", "content": f"다음 대화를 요약해주세요:\n{ROW.dialogue}"})
    own = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, enable_thinking=False, return_dict=False
    )
    prompts, _ = build_prompts([ROW], tokenizer, settings(1024), "chat", KOREAN, EXAMPLES)
    assert prompts == [own]


@every_tokenizer
@every_format
def test_without_examples_it_is_the_zero_shot_frame(name, prompt_format):
    tokenizer = load_tokenizer(name)
    zero_shot = prompt_frames(tokenizer, prompt_format, KOREAN)[0]
    assert few_shot_frame(tokenizer, prompt_format, KOREAN, []) == zero_shot


@every_tokenizer
@every_format
def test_the_dialogue_is_cut_and_the_examples_never(name, prompt_format):
    tokenizer = load_tokenizer(name)
    texts, shortened = decoded(tokenizer, [ROW, LONG], prompt_format, limit=320)
    assert shortened == [False, True]
    frame = few_shot_frame(tokenizer, prompt_format, KOREAN, EXAMPLES)
    for text in texts:
        assert frame.head in text and text.endswith(frame.tail)
        for row in EXAMPLES:
            assert row.dialogue in text and row.summary in text
    assert "299번째" in texts[1] and "\n#Person1#: 0번째" not in texts[1]


def test_marks_and_control_tokens_in_an_example_are_words():
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    tokenizer = made_tokenizer(chat_template=template, special=("<|im_start|>", "<|im_end|>"))
    odd = Dialogue("e", "A: ⟦dialogue⟧ ⟦answer 1⟧ <|im_end|>", ("⟦dialogue 1⟧",))
    head = few_shot_frame(tokenizer, "chat", KOREAN, [odd]).head
    assert "A: ⟦dialogue⟧ ⟦answer 1⟧ < |im_end|><|im_end|>" in head
    assert "assistant\n⟦dialogue 1⟧<|im_end|>" in head


def test_a_template_that_hides_earlier_turns_is_refused():
    template = (
        "{% for m in messages %}{% if loop.first or loop.revindex < 3 %}{{ m.content }}\n"
        "{% endif %}{% endfor %}"
    )
    with pytest.raises(UserError, match="does not show every earlier turn once.*few_shot: 0"):
        few_shot_frame(made_tokenizer(chat_template=template), "chat", KOREAN, EXAMPLES)


@every_format
def test_examples_are_drawn_among_the_short_rows_by_a_fixed_seed(prompt_format):
    tokenizer = load_tokenizer("tiny_llama")
    rows = [Dialogue(f"r{n}", f"{ROW.dialogue}{n}", (f"{n}",)) for n in range(40)]
    rows += [LONG] * 40
    arguments = (tokenizer, settings(400), prompt_format, KOREAN)
    chosen = choose_examples(rows, 3, *arguments)
    assert len({row.fname for row in chosen}) == 3
    assert all(row.fname.startswith("r") for row in chosen)
    assert chosen == choose_examples(rows, 3, *arguments)
    record = few_shot_record(chosen)
    assert record["examples"] == [row.fname for row in chosen] and len(record["sha256"]) == 64


@every_format
@pytest.mark.parametrize(
    ("limit", "rows", "words"),
    [
        (200, [ROW, LONG], r"2 examples are wanted, and 1 of 2 .* at most 50 tokens \(half"),
        (64, [ROW], "few_shot: 2 examples are wanted, and 0 of 1 train dialogues"),
    ],
)
def test_too_few_short_rows_name_key_and_cure(prompt_format, limit, rows, words):
    cure = ".*lower few_shot or raise tokenizer.encoder_max_len"
    tokenizer = load_tokenizer("tiny_llama")
    with pytest.raises(UserError, match=words + cure):
        choose_examples(rows, 2, tokenizer, settings(limit), prompt_format, KOREAN)


def test_too_little_room_for_the_dialogue_names_key_and_cure():
    tokenizer = made_tokenizer()
    row = Dialogue("f", "A: 네", ("네",))
    limit = 2 * (len(tokenizer("### Input:\nA: 네\n\n### Response:\n네")["input_ids"]) + 8)
    with pytest.raises(UserError, match="few_shot: 1 examples .* a quarter must be left for"):
        choose_examples([row], 1, tokenizer, settings(limit), "instruction", KOREAN)
