"""Settings files: plain YAML, read by PyYAML; a syntax error becomes a one-line UserError."""

import re
from pathlib import Path

import yaml

from yoyak.errors import UserError, display, one_line


class SettingsLoader(yaml.SafeLoader):
    """Plain YAML without duplicate keys; `2e-5` is a number, dates and `1:30` are strings."""

    yaml_implicit_resolvers = {
        first: [pair for pair in pairs if not pair[0].endswith((":int", ":float", ":timestamp"))]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(
                problem="no aliases (*name): write the value", problem_mark=mark
            )
        return super().compose_node(parent, index)

    def construct_scalar(self, node):
        return super().construct_scalar(node).encode().decode()  # ValueError: half a surrogate pair

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            twice = f"duplicate key '{key.value}'" if str(key.value) in seen else None
            problem = twice if key.tag.endswith(":str") else "a key must be a text, in quotes"
            if problem:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


INT = re.compile(r"[-+]?(0|[1-9][0-9]*)$")
FLOAT = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$|[-+]?\.inf$|\.nan$")
SettingsLoader.add_implicit_resolver("tag:yaml.org,2002:int", INT, list("-+0123456789"))
SettingsLoader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))


def load_yaml(path: Path) -> dict:
    """Read a YAML mapping; UserError with file and line if it is not one."""
    shown = display(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), SettingsLoader)
    except UnicodeDecodeError as error:
        raise UserError(f"{shown}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{shown}: cannot be read ({error.strerror})") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = one_line(f"{error.context or ''} {error.problem}")[:200]
        cure = " (indent with spaces, not tabs)" if "\\t" in problem else ""
        raise UserError(f"{shown}: not valid YAML: line {line}: {problem}{cure}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{shown}: not valid YAML: {one_line(error)[:200]}") from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise UserError(f"{shown}: holds {found}; must be a mapping of keys to values")
    return content
