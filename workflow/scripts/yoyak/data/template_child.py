"""The process that a stranger's chat template runs in: Jinja's sandbox within the kernel's limits.

Jinja's sandbox keeps a template from Python's internals, but not from `'a' * 10**10`, from a loop
that never ends, or from `10**10**10`, which is computed when the template is only compiled. So the
template gets a process of its own (see chat_templates.py) with little memory, little time, no
environment variables and no right to write a file. It has the functions and settings that
transformers gives to chat templates.

Run as `python -I template_child.py`; a JSON object on stdin, the rendered texts on stdout.
"""

import contextlib
import json
import resource
import sys

MEMORY = 512 * 2**20  # bytes of address space; rendering takes about 50 MB
SECONDS = 5  # of a processor; rendering takes about 0.1
LONGEST_TEXT = 100_000  # characters of a rendered conversation


def main() -> None:
    request = json.load(sys.stdin)
    sys.path[:] = request["path"]  # the packages of the process that asks, wherever they lie
    environment = make_environment(request["date"])
    limit_this_process(request["seconds"])
    answer = render_all(environment, request)
    json.dump(answer, sys.stdout)


def limit_this_process(seconds: int) -> None:
    """Memory, processor time and files, for good: a child cannot raise its hard limits."""
    limits = {
        resource.RLIMIT_AS: MEMORY,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        with contextlib.suppress(ValueError, OSError):  # not every system knows every limit
            resource.setrlimit(kind, (limit, limit))


def render_all(environment, request: dict) -> dict:
    """{"texts": [{"text": …} or {"error": …}, …]}, or {"error": …} where none can be rendered."""
    try:
        template = environment.from_string(request["template"])
    except MemoryError:
        return {"error": _too_much_memory()}
    except Exception as error:  # of its syntax, or of what Jinja computes beforehand
        return {"error": f"is no valid Jinja ({_words(error)})"}
    return {"texts": [_render(template, request, asked) for asked in request["conversations"]]}


def _render(template, request: dict, asked: dict) -> dict:
    pieces, length = [], 0
    variables = {"tools": None, "documents": None, **request["variables"], **asked}
    try:
        for piece in template.generate(**variables):
            pieces.append(piece)
            length += len(piece)
            if length > LONGEST_TEXT:
                return {"error": f"writes more than {LONGEST_TEXT:,} characters"}
    except MemoryError:
        pieces.clear()
        return {"error": _too_much_memory()}
    except Exception as error:  # a template is a program of its own and may raise anything
        return {"error": _words(error)}
    return {"text": "".join(pieces)}


def _words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _too_much_memory() -> str:
    return f"needs more than {MEMORY // 2**20} MB"


def make_environment(date: str):
    """Jinja as transformers sets it up; `strftime_now` tells `date`, so that reruns agree."""
    import jinja2
    from jinja2 import nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError

    class Generation(Extension):
        """{% generation %} … {% endgeneration %} marks an answer for training: its text stays."""

        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    class PlainNamespace(jinja2.utils.Namespace):
        """A namespace that takes no underscored names: none of Python's internals."""

        def __init__(*args, **kwargs):
            self, *rest = args  # so that a template may store `self`
            content = dict(*rest, **kwargs)
            for name in content:
                PlainNamespace._check(name)
            jinja2.utils.Namespace.__init__(self, content)

        def __setitem__(self, name, value):
            PlainNamespace._check(name)
            jinja2.utils.Namespace.__setitem__(self, name, value)

        @staticmethod
        def _check(name):
            if str(name).startswith("_"):
                raise SecurityError(f"a namespace stores no '{name}'")

    def raise_exception(message):
        raise jinja2.TemplateError(message)

    def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": lambda format: date,
        "namespace": PlainNamespace,
        "dict": lambda *args, **kwargs: dict(*args, **kwargs),
    }
    return environment


if __name__ == "__main__":
    main()
