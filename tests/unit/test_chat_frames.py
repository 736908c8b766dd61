"""Chat templates of many families: where the system sentence goes, headers and ends of answers."""

import pytest
from prompt_files import ENGLISH, KOREAN
from real_tokenizers import made_tokenizer
from row_datasets import dataset_of
from transformers import AutoTokenizer

from yoyak.config.model_config import ModelConfig
from yoyak.data.chat_frames import OWN_MESSAGE, USER_MESSAGE
from yoyak.data.dialogues import Dialogue
from yoyak.data.encoding import build_prompts
from yoyak.data.llm_dataset import IGNORED
from yoyak.data.prompts import prompt_frames, stop_token_ids, supervised_stop_id
from yoyak.errors import UserError

CONFIG = ModelConfig(model={"checkpoint": "a/b"})
ROWS = [Dialogue("a", "#Person1#: 내일 볼까요?\n#Person2#: 네.", ("둘은 내일 만난다.",))]
ASKED = f"{KOREAN.chat.requests[0]}\n"
SENTENCE = KOREAN.chat.system

TURNS = "{% for m in messages %}<|open|>{{ m.role }}\n{{ m.content }}<|close|>\n{% endfor %}"
HEADER = "{% if add_generation_prompt %}<|open|>assistant\n{% endif %}"
REFUSES = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
ALTERNATES = (
    "{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must take turns, the user first') }}{% endif %}"
    "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}"
    "{{ eos_token }}{% endif %}{% endfor %}"
)
DROPS = TURNS.replace("messages %}", "messages if m.role != 'system' %}") + HEADER
PLAIN_WORDS = (
    "{% for m in messages %}### {{ m.role | title }}:\n{{ m.content }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
NEXT_TURN_ENDS = (
    "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
CHANNELS = (
    "{% for m in messages %}<|open|>{{ m.role }}"
    "{% if m.role == 'assistant' %}<|channel|>final{% endif %}{{ '\n' + m.content }}<|close|>"
    "{% endfor %}{% if add_generation_prompt %}<|open|>assistant{% endif %}"
)
ENDS_A_TEXT = TURNS + HEADER.replace("{% endif", "{% else %}{{ eos_token }}{% endif")
ALWAYS = TURNS.replace(
    "{% endfor %}", "{% if loop.last %}<|open|>assistant\n{% endif %}{% endfor %}"
)
SPECIAL = ("<|open|>", "<|close|>", "<|channel|>", "<|user|>", "<|assistant|>", "[gMASK]", "<sop>")


def tokenizer_with(template: str, **traits):
    return made_tokenizer(chat_template=template, special=SPECIAL, **traits)


def texts(tokenizer) -> tuple[str, str, str]:
    """The generation prompt, the prompt in the training example, and what is supervised."""
    prompt = build_prompts(ROWS, tokenizer, CONFIG, "chat", KOREAN)[0][0]
    item = dataset_of(ROWS, tokenizer, CONFIG, "chat")[0]
    masked = item["labels"] == IGNORED
    parts = (prompt, item["input_ids"][masked], item["input_ids"][~masked])
    return tuple(tokenizer.decode(part) for part in parts)


# ---- the system sentence ----


@pytest.mark.parametrize(
    "template, opening",
    [
        (REFUSES + TURNS + HEADER, "<|open|>user\n"),
        (ALTERNATES, "[INST] "),
        (DROPS, "<|open|>user\n"),
    ],
    ids=["refuses it", "wants the user first", "drops it"],
)
def test_a_system_sentence_without_a_message_opens_the_users(template, opening):
    tokenizer = tokenizer_with(template)
    frames = prompt_frames(tokenizer, "chat", KOREAN, "templates")
    assert {frame.system for frame in frames} == {USER_MESSAGE}
    assert frames[0].head == f"{opening}{SENTENCE}\n\n{ASKED}"
    prompt, trained, _ = texts(tokenizer)
    assert prompt == trained == frames[0].around(ROWS[0].dialogue)
    english = prompt_frames(tokenizer, "chat", ENGLISH)[0]
    assert ENGLISH.chat.system + "\n\nSummarize" in english.head and SENTENCE not in english.head


def test_a_system_message_stays_one_where_the_template_shows_it():
    frame = prompt_frames(tokenizer_with(TURNS + HEADER), "chat", KOREAN)[0]
    assert frame.system == OWN_MESSAGE
    assert frame.head == f"<|open|>system\n{SENTENCE}<|close|>\n<|open|>user\n{ASKED}"
    assert prompt_frames(made_tokenizer(), "instruction", KOREAN)[0].system == ""


# ---- between dialogue and answer ----


@pytest.mark.parametrize(
    "template, tail",
    [
        (TURNS + HEADER, "<|close|>\n<|open|>assistant\n"),
        (TURNS, "<|close|>\n<|open|>assistant\n"),
        (TURNS + "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}",
         "<|close|>\n<|open|>assistant\n"),
        (ALWAYS, "<|close|>\n<|open|>assistant\n"),
        (ALTERNATES, " [/INST]"),
        (PLAIN_WORDS.partition("{% if add")[0], "\n\n### Assistant:\n"),
        (PLAIN_WORDS.partition("{% if add")[0].replace(":\n", ": "), "\n\n### Assistant:"),
        (CHANNELS, "<|close|><|open|>assistant<|channel|>final\n"),
        (TURNS + HEADER.replace("\n{", "\n<think>\n\n</think>\n\n{"),
         "<|close|>\n<|open|>assistant\n<think>\n\n</think>\n\n"),
    ],
    ids=["asked for", "never asked for", "only an end is added", "always there", "none at all",
         "in plain words", "a blank before the answer", "goes on in an answer", "more than there"],
)  # fmt: skip
def test_the_header_is_the_same_in_training_and_generation(template, tail):
    tokenizer = tokenizer_with(template)
    assert prompt_frames(tokenizer, "chat", KOREAN)[0].tail == tail
    prompt, trained, answer = texts(tokenizer)
    assert prompt == trained and prompt.endswith(ROWS[0].dialogue + tail)
    stop = tokenizer.decode([supervised_stop_id(tokenizer, "chat")])
    assert answer == ROWS[0].summary + stop


@pytest.mark.parametrize(
    "template, message",
    [
        ("{{ messages[-1].content }}", "shows the message before an answer 0 times"),
        (TURNS.replace("m.content", "'' if m.role == 'assistant' else m.content"),
         "shows the answer 0 times"),
        (TURNS + HEADER + "{{ messages[-1].content if messages[-1].role == 'assistant' }}",
         "shows the answer 2 times"),
        (TURNS + "{% if messages[-1].role == 'assistant' %}{{ raise_exception('no') }}{% endif %}",
         "cannot be used .* no"),
    ],
)  # fmt: skip
def test_a_template_without_a_place_for_the_answer_is_one_line(template, message):
    with pytest.raises(UserError, match=message) as caught:
        prompt_frames(tokenizer_with(template), "chat", KOREAN)
    assert str(caught.value).isprintable() and "instruction format" in str(caught.value)


@pytest.mark.parametrize(
    "template", ["{% if %}", "{{ x", "{% endfor %}", "{% unknown %}", "{{ 1/0 }}"]
)
def test_a_broken_template_is_one_line_and_no_matter_to_the_instruction_format(tmp_path, template):
    tokenizer_with(template).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(UserError, match="chat_template.jinja: its chat template cannot be") as one:
        prompt_frames(tokenizer, "chat", KOREAN)
    assert str(one.value).isprintable() and len(str(one.value)) < 700
    assert "use the instruction format" in str(one.value)
    assert prompt_frames(tokenizer, "instruction", KOREAN)
    assert stop_token_ids(tokenizer, "instruction")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('touch CANARY').read() }}",
        "{{ lipsum.__globals__['os'].system('touch CANARY') }}",
        "{% include '/etc/passwd' %}",
        "{{ open('/etc/passwd').read() }}",
    ],
)
def test_a_template_gets_no_further_than_jinjas_sandbox(tmp_path, monkeypatch, template):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="chat template cannot be used"):
        prompt_frames(tokenizer_with(template), "chat", KOREAN)
    assert list(tmp_path.iterdir()) == []


# ---- the ends of an answer ----


@pytest.mark.parametrize("template", [PLAIN_WORDS, NEXT_TURN_ENDS])
def test_an_answer_that_the_template_does_not_end_ends_with_the_text(template):
    tokenizer = tokenizer_with(template, eos="</s>")
    assert stop_token_ids(tokenizer, "chat")[0] == tokenizer.eos_token_id
    assert texts(tokenizer)[2] == ROWS[0].summary + "</s>"
    with pytest.raises(UserError, match="no end token .* its chat template writes none") as caught:
        supervised_stop_id(tokenizer_with(template, eos=None), "chat")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "template, chat, instruction",
    [
        (TURNS + HEADER, ["<|close|>", "</s>"], ["</s>", "<|close|>"]),
        (ENDS_A_TEXT, ["<|close|>", "</s>"], ["</s>", "<|close|>"]),
        (ALWAYS, ["<|close|>", "</s>"], ["</s>", "<|close|>"]),
        (TURNS.replace("<|close|>", "<|close|><|channel|>"),
         ["<|close|>", "</s>"], ["</s>", "<|close|>"]),
        (TURNS + "{% if messages[-1].role == 'assistant' %}<sop>{% endif %}",
         ["<|close|>", "</s>", "<sop>"], ["</s>", "<|close|>", "<sop>"]),
        (NEXT_TURN_ENDS, ["</s>"], ["</s>"]),
        (ALTERNATES, ["</s>"], ["</s>"]),
        ("{% if %}", None, ["</s>"]),
    ],
)  # fmt: skip
def test_all_that_the_template_and_the_tokenizer_name_ends_a_summary(template, chat, instruction):
    tokenizer = tokenizer_with(template, eos="</s>")
    for prompt_format, expected in (("chat", chat), ("instruction", instruction)):
        if expected is not None:
            found = stop_token_ids(tokenizer, prompt_format)
            assert tokenizer.convert_ids_to_tokens(found) == expected


def test_what_the_checkpoint_names_ends_a_summary_in_both_formats():
    tokenizer = tokenizer_with(TURNS + HEADER, eos="</s>")
    tokenizer.named_end_ids = tokenizer.convert_tokens_to_ids(["</s>", "<|channel|>", "<sop>"])
    for prompt_format, first in (("chat", "<|close|>"), ("instruction", "</s>")):
        found = tokenizer.convert_ids_to_tokens(stop_token_ids(tokenizer, prompt_format))
        assert found[0] == first and set(found) == {"<|close|>", "</s>", "<|channel|>", "<sop>"}
