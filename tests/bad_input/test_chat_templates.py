"""Chat templates of strangers: rendered as transformers does, and stopped where they go too far."""

import time

import pytest
from real_tokenizers import NAMES, load_tokenizer, made_tokenizer

from yoyak.data import chat_templates, template_child
from yoyak.data.chat_templates import render_conversations
from yoyak.data.prompts import prompt_frames, stop_token_ids
from yoyak.errors import UserError

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MESSAGES = [
    {"role": "system", "content": "S <b> 'q' \"d\""},
    {"role": "user", "content": "한국어\n둘째 줄"},
    {"role": "assistant", "content": "A"},
]


def tokenizer_with(template):
    return made_tokenizer(chat_template=template, special=("<|im_start|>", "<|im_end|>"))


def rendered(template, messages=None, prompt=False):
    asked = {"messages": messages or MESSAGES, "add_generation_prompt": prompt}
    text = render_conversations(tokenizer_with(template), [asked])[0]
    if isinstance(text, UserError):
        raise text
    return text


def refused(template, *words) -> None:
    """In chat format: one clear line. In instruction format the template does not matter."""
    tokenizer = tokenizer_with(template)
    with pytest.raises(UserError) as caught:
        prompt_frames(tokenizer, "chat", "ko")
    text = str(caught.value)
    assert text.isprintable() and len(text) < 700 and "use the instruction format" in text
    for word in words:
        assert word in text, text
    assert prompt_frames(tokenizer, "instruction", "ko")
    assert stop_token_ids(tokenizer, "instruction")


# ---- as transformers renders them ----


@pytest.mark.parametrize("name", NAMES)
def test_real_templates_give_the_text_that_transformers_gives(name):
    tokenizer = load_tokenizer(name)
    for number in (2, 3):
        asked = {"messages": MESSAGES[:number], "add_generation_prompt": number == 2}
        expected = tokenizer.apply_chat_template(
            MESSAGES[:number],
            tokenize=False,
            add_generation_prompt=number == 2,
            **chat_templates.VARIABLES,
        )
        assert render_conversations(tokenizer, [asked]) == [expected]


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages | tojson }}{{ messages[0] | tojson(indent=2) }}",
        "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.content }}"
        "{% if m.role == 'user' %}{% break %}{% endif %}{% endfor %}",
        "{% for m in messages %}{% generation %}\n  {{ m.content }}{% set x = 1 %}\n"
        "{% endgeneration %}{{ x }}{% endfor %}",
        "{% set ns = namespace(n=0, self=2) %}{% for m in messages %}"
        "{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}{{ ns.self }}",
        "{{ dict(a=1, b=[2]) }}{{ messages[0].get('x', 'y') }}{{ messages[-1]['role'].title() }}",
        "{%- macro f(m) -%}[{{ m.content | trim }}]{%- endmacro -%}"
        "{{ messages | map(attribute='role') | join(',') }}{{ f(messages[1]) }}",
        "{{ eos_token }}{{ pad_token }}{{ tools }}{{ documents }}{{ nothing }}",
        "{% if tools is defined and tools %}t{% elif date_string is defined %}{{ date_string }}"
        "{% endif %}",
        "  {% if true %}\n  x\n  {% endif %}\n{{- ' y ' -}}\n",
        "{{ messages[0].content.split(' ')[0] }}{{ messages[1].content[:3] }}{{ '%s' % 3 }}",
        "{{ range(3) | list }}{{ [1, 2] + [3] }}{{ {'a': 1}.items() | list }}",
    ],
)
def test_every_feature_that_templates_use(template):
    expected = tokenizer_with(template).apply_chat_template(
        MESSAGES, tokenize=False, **chat_templates.VARIABLES
    )
    assert rendered(template) == expected


def test_the_date_is_always_the_same():
    assert rendered("{{ strftime_now('%d %b %Y') }}") == chat_templates.FIXED_DATE


# ---- what goes too far ----

ENDLESS = {
    "nested loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}"
    "{% endfor %}",
    "a loop that writes nothing": CHATML
    + "{% for a in range(9999) %}{% for b in range(9999) %}{% set c = b * a %}"
    + "{% endfor %}{% endfor %}",
    "a power computed at compile time": "{{ 9 ** (9 ** 9) }}" + CHATML,
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}"
    "{% endif %}{% endmacro %}{{ f(60) }}" + CHATML,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_template_that_never_ends(monkeypatch, name):
    monkeypatch.setattr(template_child, "SECONDS", 1)
    started = time.monotonic()
    refused(ENDLESS[name], "takes more than 1 s")
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    "template, words",
    [
        ("{% for i in range(10**9) %}{% endfor %}", ("Range too big",)),
        ("{{ 'a' * 10**10 }}" + CHATML, ("512 MB",)),
        ("{{ messages[0].content * 10**9 }}" + CHATML, ("512 MB",)),
        ("{{ '%09999999999d' % 1 }}" + CHATML, ("512 MB",)),
        ("{{ [0] * 10**9 }}" + CHATML, ("512 MB",)),
        ("{% for i in range(99999) %}{{ 'abc' }}{% endfor %}", ("100,000 characters",)),
        ("{{ 'a' * 10**6 }}" + CHATML, ("100,000 characters",)),
        ("{{ ''|center(10**10) }}" + CHATML, ("512 MB",)),
        ("{{ lipsum(n=1000) }}" + CHATML, ("100,000 characters",)),
    ],
)
def test_a_template_that_wants_too_much(template, words):
    refused(template, *words)


def test_a_template_that_is_too_long():
    refused("x" * 1_000_001, "1,000,001 characters", "allowed are 1,000,000")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ ''['__class__'] }}{{ raise_exception(''|attr('__class__')) }}",
        "{{ cycler.__init__.__globals__.os.popen('touch CANARY').read() }}",
        "{{ lipsum.__globals__['os'].system('touch CANARY') }}",
        "{{ self._TemplateReference__context.environment.globals }}",
        "{{ strftime_now.__globals__ }}{{ raise_exception.__globals__ }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '{0.__class__}'.format_map({'0': 1}) }}",
        "{% set n = namespace(__class__=1) %}",
        "{% set n = namespace() %}{% set n.__class__ = 1 %}",
        "{{ messages.append(1) }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ open('/etc/passwd').read() }}",
        "{{ config.items() }}",
    ],
)
def test_a_template_that_tries_to_get_out(tmp_path, monkeypatch, template):
    monkeypatch.chdir(tmp_path)
    try:
        text = rendered(template)
    except UserError as error:
        assert "chat template cannot be used" in str(error)
    else:  # Jinja shows nothing for what a template must not reach
        for leaked in ("class", "root:", "<module", "subclasses"):
            assert leaked not in text
    assert list(tmp_path.iterdir()) == []


def test_the_process_sees_no_secrets_and_writes_no_files(tmp_path, monkeypatch):
    """As if the sandbox had a hole: code runs in the child, and finds nothing to take or break."""
    import json
    import subprocess
    import sys

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    seen = {}

    def run(command, **options):
        seen.update(options, command=command)
        return subprocess.CompletedProcess(command, 0, stdout='{"texts": [{"text": "x"}]}')

    chat_templates._ask_child.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(chat_templates.subprocess, "run", run)
        rendered("{{ 'unseen' }}")
    chat_templates._ask_child.cache_clear()
    assert "hf_secret" not in json.dumps([seen["env"], seen["input"], seen["command"]])
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import template_child;"
        "template_child.limit_this_process(5); open(sys.argv[2], 'w').write('x' * 9999)"
    )
    folder = str(chat_templates.Path(template_child.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", code, folder, str(tmp_path / "canary")], capture_output=True
    )
    assert done.returncode != 0 and (tmp_path / "canary").stat().st_size == 0


@pytest.mark.parametrize(
    "template", ["{% if %}", "{{ x", "{% endfor %}", "{% unknown %}", "{{ 1/0 }}"]
)
def test_a_template_that_is_broken(template):
    refused(template, "chat template cannot be used")


def test_the_file_is_named(tmp_path):
    from transformers import AutoTokenizer

    tokenizer_with("{{ 'a' * 10**10 }}").save_pretrained(tmp_path)
    with pytest.raises(UserError, match="chat_template.jinja: its chat template cannot be used"):
        prompt_frames(AutoTokenizer.from_pretrained(tmp_path), "chat", "ko")


def test_a_real_template_with_a_bomb_in_it(monkeypatch):
    import copy

    monkeypatch.setattr(template_child, "SECONDS", 1)
    tokenizer = copy.deepcopy(load_tokenizer("tiny_qwen3"))
    tokenizer.chat_template += "{% if messages | length == 3 %}{{ 9 ** (9 ** 9) }}{% endif %}"
    with pytest.raises(UserError, match="takes more than 1 s"):
        stop_token_ids(tokenizer, "chat")
