"""Chat templates are programs that come with a checkpoint: rendered in a process of their own.

That process (template_child.py) has limits of time, memory and size and sees nothing of ours but
the template and the messages. One process renders all conversations of a template, about 0.2 s.
"""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

from yoyak.data import template_child
from yoyak.errors import UserError, display, one_line

LONGEST_TEMPLATE = 1_000_000  # characters; real ones have some thousands
WAIT = 120  # seconds for a process that may compute for 5: a busy machine
# Some templates write today's date into the system message; a fixed one keeps runs reproducible.
FIXED_DATE = "26 Jul 2024"
VARIABLES = {
    "enable_thinking": False,  # Qwen3: the empty think block goes into the prompt
    "date_string": FIXED_DATE,
}


def render_conversations(tokenizer, conversations: list[dict]) -> list[str | UserError]:
    """Each conversation as the tokenizer's chat template writes it, or why it does not.

    Args:
        conversations: {"messages": [{"role", "content"}, …], "add_generation_prompt": bool}.

    Raises UserError: the template as a whole is too long, is no Jinja, or takes too much.
    """
    where = template_place(tokenizer)
    try:
        template = tokenizer.get_chat_template()
    except ValueError as error:  # several templates, none of them called default
        raise UserError(f"{where}: {one_line(error)[:200]}") from None
    if len(template) > LONGEST_TEMPLATE:
        raise UserError(
            f"{where}: its chat template has {len(template):,} characters, allowed are "
            f"{LONGEST_TEMPLATE:,}; use the instruction format, or another checkpoint"
        )
    variables = {**_plain(tokenizer.special_tokens_map), **VARIABLES}
    request = {"template": template, "variables": variables, "conversations": conversations}
    request |= {"date": FIXED_DATE, "seconds": template_child.SECONDS}
    answer = _ask_child(json.dumps(request))
    if "error" in answer:
        raise _refused(where, answer["error"])
    return [
        item["text"] if "text" in item else _refused(where, item["error"])
        for item in answer["texts"]
    ]


def template_place(tokenizer) -> str:
    """The file that a tokenizer's chat template stands in, or the tokenizer's name."""
    name = str(getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__)
    for file in ("chat_template.jinja", "tokenizer_config.json"):
        try:
            if (Path(name) / file).is_file():
                return display(Path(name) / file)
        except (OSError, ValueError):
            break
    return one_line(name)[:200]


@functools.lru_cache(maxsize=64)
def _ask_child(request: str) -> dict:
    """The child's answer; {"error": why} where it was stopped."""
    command = [sys.executable, "-I", template_child.__file__]
    path = [os.path.abspath(entry) for entry in sys.path]
    text = json.dumps({**json.loads(request), "path": path})
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    try:
        done = subprocess.run(
            command,
            input=text,  # ASCII, as json escapes the rest
            env=kept,
            cwd="/",
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=WAIT,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"it did not end within {WAIT} s"}
    if done.returncode == 0:
        return json.loads(done.stdout)
    megabytes = template_child.MEMORY // 2**20
    if done.returncode < 0 or "MemoryError" in done.stderr:  # the limits' doing
        seconds = template_child.SECONDS
        return {"error": f"it takes more than {seconds} s or {megabytes} MB to render"}
    raise RuntimeError(f"the chat template's process failed: {done.stderr.strip()[-500:]}")


def _refused(where: str, why: str) -> UserError:
    return UserError(
        f"{where}: its chat template cannot be used for a system, a user and an assistant message: "
        f"{one_line(why)[:250]}; use the instruction format, or a checkpoint with another template"
    )


def _plain(value):
    """Special tokens as JSON has them: text, or lists of it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool) else str(value)
