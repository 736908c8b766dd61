"""YAML as a settings file may use it: no aliases, no duplicate keys, finite numbers, plain text."""

import math
import re
from pathlib import Path

import yaml

from yoyak.errors import UserError, display, one_line

MAX_YAML_BYTES = 1_000_000  # a settings file is a page or two
LARGEST_NUMBER = 2**63
CORE_TAGS = {
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")
}

UNWRITABLE = re.compile("[^\\t\\n\\x20-\\x7e\\x85\\xa0-\\ud7ff\\ue000-\\U0010ffff]")


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses what YAML would silently accept: duplicate keys, aliases, tags."""

    def compose_node(self, parent, index):
        event = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"line {line}: aliases (*name) are not allowed; write the value")
        node = super().compose_node(parent, index)
        if node.tag not in CORE_TAGS:
            raise yaml.YAMLError(f"line {line}: '{node.tag}' is not allowed; write plain values")
        return node

    def construct_scalar(self, node):
        bad = UNWRITABLE.search(node.value) if isinstance(node, yaml.ScalarNode) else None
        if bad:  # an escape such as \\0: no name, path or sentence holds it
            line, found = node.start_mark.line + 1, f"U+{ord(bad[0]):04X}"
            raise yaml.YAMLError(f"line {line}: the character {found} is not allowed; remove it")
        return super().construct_scalar(node)

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag != "tag:yaml.org,2002:str":
                raise yaml.YAMLError(f"line {line}: a key must be a plain word")
            if key_node.value in seen:
                raise yaml.YAMLError(f"line {line}: key '{key_node.value}' stands twice")
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)

    def construct_number(self, node):
        kind = int if node.tag.endswith(":int") else float
        try:
            number = kind(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:  # an explicit tag (`!!int x`), or thousands of digits
            number = math.nan
        if not abs(number) < LARGEST_NUMBER:
            line = node.start_mark.line + 1
            shown = node.value[:40]
            raise yaml.YAMLError(
                f"line {line}: found {shown}; write a finite number, or a text in quotes"
            )
        return number


def _resolve_like_yaml_1_2() -> None:
    """`2e-5` is a number; a date, `010` and `1:30` are no numbers. YAML 1.1 has it otherwise."""
    dropped = tuple(f":{name}" for name in ("timestamp", "merge", "value", "int", "float"))
    _StrictLoader.yaml_implicit_resolvers = {
        first: [pair for pair in pairs if not pair[0].endswith(dropped)]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    patterns = {
        "int": r"^[-+]?(0|[1-9][0-9]*)$",
        "float": r"^[-+]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))$",
    }
    for kind, pattern in patterns.items():
        tag = f"tag:yaml.org,2002:{kind}"
        _StrictLoader.add_implicit_resolver(tag, re.compile(pattern), list("-+0123456789."))
        _StrictLoader.add_constructor(tag, _StrictLoader.construct_number)
    nan = re.compile(r"^\.(nan|NaN|NAN)$")
    _StrictLoader.add_implicit_resolver("tag:yaml.org,2002:float", nan, ["."])


_resolve_like_yaml_1_2()


def load_yaml(path: Path) -> dict:
    """Read one YAML mapping.

    Raises UserError for a missing, oversized, non-UTF-8 or malformed file, naming file and line.
    """
    shown = display(path)
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_YAML_BYTES + 1)
        if len(raw) > MAX_YAML_BYTES:
            raise UserError(f"{shown}: more than {MAX_YAML_BYTES:,} bytes; is it a settings file?")
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{shown}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{shown}: cannot be read ({error.strerror})") from None
    try:
        content = yaml.load(text, _StrictLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{shown}: not valid YAML: {_fault(error)}") from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise UserError(f"{shown}: holds {found}; must be a mapping of keys to values")
    return content


def _fault(error: Exception) -> str:
    """The parser's complaint and its line; without the excerpt, which may be long."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return one_line(error)[:300] if not isinstance(error, RecursionError) else "nested too deep"
    problem = str(error.problem)
    if problem.startswith("but ") and error.context:  # the other half of the sentence
        problem = f"{error.context}, {problem}"
    tab = " (indent with spaces, not tabs)" if "\\t" in problem else ""
    return f"line {mark.line + 1}: {one_line(problem)[:200]}{tab}"
