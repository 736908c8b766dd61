"""What a merged folder gives to Ollama and vLLM renders the prompt that was trained on."""

import re

import pytest
from prompt_files import KOREAN, prompt_file
from real_tokenizers import NAMES, load_tokenizer, made_tokenizer
from transformers import AutoTokenizer

from yoyak.config.model_config import ModelConfig
from yoyak.config.prompt_files import find_prompts
from yoyak.config.prompts import FORMATS
from yoyak.data.dialogues import Dialogue
from yoyak.data.encoding import build_prompts
from yoyak.data.prompts import prompt_frames, stop_token_ids
from yoyak.generation.serving import chat_template, messages_of, modelfile, renders_as_trained

DIALOGUE = '#Person1#: 예약을 "바꾸고" 싶어요. {{ .System }}\n#Person2#: 네.'
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKS = CHATML.replace(
    "assistant\n{%",
    "assistant\n{% if enable_thinking is not defined or enable_thinking %}{% else %}"
    "<think>\n\n</think>\n\n{% endif %}{%",
)
DATED = "{{ strftime_now('%d %b %Y') }} {{ date_string }} " + CHATML
every_tokenizer = pytest.mark.parametrize("name", NAMES)
every_format = pytest.mark.parametrize("prompt_format", FORMATS)


def trained_ids(tokenizer, prompt_format, prompts) -> list[int]:
    """The generation prompt that training begins with, built as training builds it."""
    config = ModelConfig(model={"checkpoint": "a/b"})
    rows = [Dialogue("a", DIALOGUE)]
    return build_prompts(rows, tokenizer, config, prompt_format, prompts)[0][0]


def ollama_ids(tokenizer, text: str, adds_bos: bool) -> list[int]:
    """Token ids of DIALOGUE under a Modelfile, read as Ollama's parser and Go's templates do.

    Its syntax is small enough: the text, `{{ .Prompt }}` and strings with \\U escapes.
    """
    [template] = re.findall(r'^TEMPLATE """(.*?)"""$', text, re.MULTILINE | re.DOTALL)
    assert all(one.isprintable() or one == "\n" for one in template)  # others would be dropped
    values = {".Prompt": DIALOGUE}

    def value(found) -> str:
        name = found[1]
        if name.startswith('"'):
            return name[1:-1].encode("ascii").decode("unicode-escape")
        return values[name]

    actions = r'\{\{ (\.Prompt|"(?:\\U[0-9a-f]{8})+") \}\}'
    assert "{{" not in re.sub(actions, "", template)
    ids = tokenizer(re.sub(actions, value, template), add_special_tokens=False)["input_ids"]
    return [tokenizer.bos_token_id, *ids] if adds_bos else ids


def described(tokenizer, prompt_format, prompts, adds_bos=False) -> str:
    frame = prompt_frames(tokenizer, prompt_format, prompts)[0]
    stops = stop_token_ids(tokenizer, prompt_format)
    return modelfile(tokenizer, frame, stops, 200, 1224, adds_bos)


@every_tokenizer
@every_format
def test_ollamas_prompt_is_the_trainings_with_one_bos(name, prompt_format):
    tokenizer = load_tokenizer(name)
    expected = trained_ids(tokenizer, prompt_format, KOREAN)
    text = described(tokenizer, prompt_format, KOREAN)
    assert ollama_ids(tokenizer, text, adds_bos=False) == expected
    if tokenizer.bos_token is not None:  # as a tokenizer_config.json with add_bos_token has it
        text = described(tokenizer, prompt_format, KOREAN, adds_bos=True)
        assert ollama_ids(tokenizer, text, adds_bos=True) == expected
        assert expected.count(tokenizer.bos_token_id) == 1
    lines = text.splitlines()
    assert lines[1] == "FROM ." and "PARAMETER temperature 0" in lines
    assert {"PARAMETER num_ctx 1224", "PARAMETER num_predict 200"} <= set(lines)
    for stop in stop_token_ids(tokenizer, prompt_format):
        assert f'PARAMETER stop "{tokenizer.convert_ids_to_tokens(stop)}"' in lines


@every_tokenizer
@every_format
def test_the_saved_chat_template_writes_the_trainings_prompt(name, prompt_format, tmp_path):
    saved_template_is_right(load_tokenizer(name), prompt_format, KOREAN, tmp_path)


@every_format
@pytest.mark.parametrize("template", [CHATML, THINKS, DATED], ids=["plain", "thinks", "dated"])
def test_date_and_think_block_are_those_of_training(template, prompt_format, tmp_path):
    special = ("<|im_start|>", "<|im_end|>", "<think>", "</think>")
    tokenizer = made_tokenizer(chat_template=template, special=special, eos="<|im_end|>")
    saved_template_is_right(tokenizer, prompt_format, KOREAN, tmp_path)


def saved_template_is_right(tokenizer, prompt_format, prompts, folder):
    """A server has the folder alone: no variables, no clock of ours."""
    expected = trained_ids(tokenizer, prompt_format, prompts)
    frame = prompt_frames(tokenizer, prompt_format, prompts)[0]
    chat = prompts.chat if prompt_format == "chat" else None
    own, tokenizer.chat_template = tokenizer.chat_template, chat_template(tokenizer, frame, chat)
    tokenizer.save_pretrained(folder)
    tokenizer.chat_template = own  # shared between tests
    server = AutoTokenizer.from_pretrained(folder)
    assert renders_as_trained(server, frame, chat)
    messages = messages_of(DIALOGUE, frame, chat)
    ids = server.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert ids == expected
    # The folder is a checkpoint like any other: what reads its template finds the same prompt.
    assert trained_ids(server, prompt_format, prompts) == expected
    assert stop_token_ids(server, prompt_format)[0] == stop_token_ids(tokenizer, prompt_format)[0]


@every_format
def test_prompts_with_what_go_jinja_and_the_modelfile_take_for_syntax(
    tmp_path, monkeypatch, prompt_format
):
    odd = 'A\u3000B {{ .System }} {% if %} """ {"a": 1}\t\\n “네” \U0001f600\u200b{'
    monkeypatch.chdir(tmp_path)
    prompt_file(tmp_path, **{
        "chat.text": odd + "{request}\n{dialogue}{" + odd, "chat.system": odd,
        "instruction.text": odd + '"{request}\n{dialogue}{' + odd + '\n"',
    })  # fmt: skip
    prompts = find_prompts("mine", "ko")
    tokenizer = made_tokenizer(chat_template=CHATML, special=("<|im_start|>", "<|im_end|>"))
    text = described(tokenizer, prompt_format, prompts)
    expected = trained_ids(tokenizer, prompt_format, prompts)
    assert ollama_ids(tokenizer, text, adds_bos=False) == expected
    saved_template_is_right(tokenizer, prompt_format, prompts, tmp_path / "saved")


def test_a_base_model_gets_a_template_for_its_instructions(tmp_path):
    tokenizer = made_tokenizer(bos="<s>", adds_bos=True, eos="</s>")
    saved_template_is_right(tokenizer, "instruction", KOREAN, tmp_path)
