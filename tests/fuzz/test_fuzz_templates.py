"""Chat templates: whatever a template does, it is a prompt in the end, or one clear refusal."""

from fuzzing import SECONDS, fuzz, mutated, read_or_refused
from hypothesis import strategies as st
from real_tokenizers import load_tokenizer, made_tokenizer

from yoyak.data import template_child
from yoyak.data.prompts import prompt_frames, stop_token_ids, supervised_stop_id

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PIECES = [
    *("{{ ", " }}", "{% ", " %}", "{#", "#}", "{%- ", " -%}", "\n", " ", "(", ")", "[", "]", "|"),
    *("for m in messages", "endfor", "if add_generation_prompt", "else", "endif", "set x = 1"),
    *("m.content", "m['role']", "messages[0]", "messages", "loop.index", "namespace(a=1)", "x"),
    *("set ns.a = ns.a + 1", "range(10**9)", "range(99999)", "'a' * 10**10", "9 ** (9 ** 9)"),
    *("raise_exception('no')", "strftime_now('%Y')", "tojson", "trim", "center(10**9)", "join"),
    *("generation", "endgeneration", "break", "continue", "macro f(n)", "endmacro", "f(f)"),
    *("self", "cycler", "lipsum()", "''.__class__", "attr('__init__')", "eos_token", "undefined"),
    *("call f(1)", "endcall", "filter upper", "endfilter", "include 'x'", "import 'os' as os"),
    *(
        "<|im_start|>",
        "<|im_end|>",
        "<think>",
        "</think>",
        "⟦dialogue⟧",
        "⟦answer⟧",
        "\0",
        "\u2028",
    ),
    *("%", "{", "}", "'", '"', "-", "~", "+", "1", "is defined", "not", "and", "in", "가"),
]
blocks = st.sampled_from(PIECES).map(lambda piece: "{{ " + piece + " }}") | st.sampled_from(
    PIECES
).map(lambda piece: "{% " + piece + " %}")


def test_templates(monkeypatch):
    monkeypatch.setattr(template_child, "SECONDS", 1)
    real = load_tokenizer("tiny_qwen3").chat_template
    made = made_tokenizer(special=("<|im_start|>", "<|im_end|>", "<|end|>"))

    def check(template):
        made.chat_template = template
        read_or_refused(prompt_frames, made, "chat", "ko", "templates")
        read_or_refused(supervised_stop_id, made, "chat")
        assert prompt_frames(made, "instruction", "ko")  # needs no template
        assert stop_token_ids(made, "instruction")

    pieces = [piece.encode() for piece in PIECES]
    edited = mutated([CHATML.encode(), real.encode()], pieces).map(
        lambda raw: raw.decode("utf-8", "replace")
    )
    built = st.lists(blocks | st.sampled_from(PIECES), max_size=12).map("".join)
    ended = st.tuples(built, st.sampled_from(["", CHATML])).map("".join)
    fuzz(edited | ended, check, known=KNOWN, examples=12 if not SECONDS else 300)


KNOWN = ["", " ", "{{", "\0", "{{ messages }}", CHATML * 3, "\ud800", "{{ '\\ud800' }}" + CHATML]
