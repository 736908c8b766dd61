"""A digest of the code that a step really runs; it decides what reruns and what may be resumed.

From a step's entry points, names are followed through the syntax trees of the modules below
workflow/scripts; nothing is imported. What counts:

- every function, class and constant that is reached, but not its neighbours in the file. A class
counts as a whole. Annotations count too: an argument may be of that class.
  Of a class of settings (`Section`) only the methods count: its values are a step's settings.
- what a module does when it is imported (`AttentionInterface.register(…)`), for every module that
  is imported on the way; but an assignment to a plain name counts only where the name is used,
  and `if __name__ == "__main__":` and `if TYPE_CHECKING:` never do.
- a whole module wherever a definition cannot be told: a module used as a value (`ops = kernels`,
  `getattr(kernels, name)`), a name that it does not define, a string that is its dotted name. A
  package as a value counts with every module below it.
- nothing of the modules in NOT_ENTERED, which have no part in the step's result.

Comments, docstrings, layout and the version of Python change nothing.
"""

import ast
import json
from functools import cache
from importlib.util import resolve_name
from itertools import accumulate
from pathlib import Path

from yoyak.errors import UserError, display
from yoyak.run.workspace import hash_text

SCRIPTS = Path(__file__).resolve().parents[2]
# Where each step's own code begins, as module:name, after parsing arguments and settings.
ENTRY_POINTS = {
    "prepare_data": ["yoyak.data.prepare:prepare_data"],
    "build_dataset": ["yoyak.training.examples:build_dataset"],
    "train": [
        "yoyak.training.train_run:train_on",
        "yoyak.training.train_run:train_as_one_of_several",
    ],
    "take_training": ["take_training:take_training"],
    "generate": [
        "yoyak.generation.predictions:generate_splits",
        "yoyak.run.provenance:write_run_record",
    ],
    "floors": ["floors:score_floors"],
    "score": ["score:score"],
    "submission": ["submission:write_submission"],
    "compare": ["compare:compare"],
    "plot": ["yoyak.reporting.plots:write_plots"],
    "report": [
        "yoyak.reporting.html:render_report",
        "yoyak.reporting.opening:render_opening",
    ],
    "model_card": ["yoyak.reporting.model_card:model_card"],
}
# Modules that a step's code names, and its result does not depend on: in training, what LLMTrainer
# offers to programs (ROUGE after a training, checks of its output folder), and the trackers.
NOT_ENTERED = {
    "train": (
        *("yoyak.generation.summaries", "yoyak.scoring.scores", "yoyak.run.manual"),
        "yoyak.training.trackers",
    )
}
WHOLE, ON_IMPORT, GUARDED = "*", "on import", "guarded"  # beside the names of definitions
GUARDS = ("__name__ == '__main__'", "TYPE_CHECKING", "typing.TYPE_CHECKING")
# Fields of syntax trees that mean nothing, or that only some versions of Python fill in.
SKIPPED = ("ctx", "kind", "type_comment", "type_ignores")
EMPTY: tuple[object, ...] = (None, [])
SETTINGS = "Section"  # base of the classes that only say what a file may hold
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def step_digest(step: str, root: Path = SCRIPTS) -> str:
    """Digest of a step's code: 16 hexadecimal digits."""
    return code_digest(*ENTRY_POINTS[step], root=root, without=NOT_ENTERED.get(step, ()))


@cache
def code_digest(*entry_points: str, root: Path = SCRIPTS, without: tuple[str, ...] = ()) -> str:
    """Digest of what is reached from definitions named "package.module:name" below `root`.

    without: modules that are not entered.
    """
    code = reached_code(*entry_points, root=root, without=without)
    return hash_text(json.dumps(code, sort_keys=True))[:16]


def reached_code(
    *entry_points: str, root: Path = SCRIPTS, without: tuple[str, ...] = ()
) -> dict[str, str]:
    """Canonical text of every definition that is reached, by "module:name".

    Raises UserError for an entry point that does not exist and for a file that does not parse.
    """
    waiting = [tuple(entry.split(":")) for entry in entry_points]
    for module, name in waiting:
        if module not in _files(root) or name not in _module(root, module).definitions:
            raise UserError(
                f"{Path(__file__).name}: ENTRY_POINTS: {module}:{name} is not defined below "
                f"{root.name}/; name the function that now does this step's work"
            )
    code: dict[str, str] = {}
    while waiting:
        module, name = waiting.pop()
        if module not in without and f"{module}:{name}" not in code:
            code[f"{module}:{name}"], references = _definition(root, module, name)
            waiting += references
    return {key: text for key, text in code.items() if text}


@cache
def _files(root: Path) -> dict[str, Path]:
    """Source files by the dotted names of their modules."""
    names = {file: file.relative_to(root).with_suffix("").parts for file in root.rglob("*.py")}
    return {".".join(name).removesuffix(".__init__"): file for file, name in names.items()}


class _Module:
    """The top level of a file: its statements by the names that they define, and its imports."""

    def __init__(self, name: str, file: Path):
        try:
            tree = ast.parse(file.read_bytes())
        except SyntaxError as error:
            raise UserError(f"{display(file)}: line {error.lineno}: {error.msg}") from None
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        self.definitions: dict[str, list[_Statement]] = {ON_IMPORT: []}
        self.imports: dict[str, set[str]] = {}
        for statement in tree.body:
            read, names = _Statement(statement, package), _defined(statement)
            for defined in names:
                self.definitions.setdefault(defined, []).append(read)
            if not isinstance(statement, DEFINITIONS) and GUARDED not in names:
                _add(self.imports, read.imports)


@cache
def _module(root: Path, name: str) -> _Module:
    return _Module(name, _files(root)[name])


def _defined(statement: ast.stmt) -> list[str]:
    """The names under which a statement of the top level counts."""
    if isinstance(statement, DEFINITIONS):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom) or _does_nothing(statement):
        return []
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        parts = [part for target in targets for part in ast.walk(target)]
        if all(isinstance(part, ast.Name | ast.Tuple | ast.Store) for part in parts):
            return [part.id for part in parts if isinstance(part, ast.Name)]
    if isinstance(statement, ast.If) and ast.unparse(statement.test) in GUARDS:
        return [ON_IMPORT if statement.orelse else GUARDED]
    return [ON_IMPORT]


class _Statement:
    """Canonical text of a statement, and what it names."""

    def __init__(self, statement: ast.stmt, package: str):
        self.names: set[str] = set()  # with the attributes that follow: a, a.b.c
        self.strings: set[str] = set()  # that may name a module
        self.imports: dict[str, set[str]] = {}  # dotted names by the names that they are bound to
        self.package = package
        self.text = self._read(statement)

    def _read(self, node: object) -> str:
        """Text of a syntax tree: without positions, docstrings and empty fields."""
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str) and "." in node.value:
                self.strings.add(node.value)
            return ascii(node.value)
        if isinstance(node, ast.Name | ast.Attribute) and (dotted := _dotted(node)):
            self.names.add(dotted)
            return f"Name({dotted})"
        if isinstance(node, ast.JoinedStr):  # Python 3.12 adds empty parts
            parts = [self._read(part) for part in node.values]
            return f"JoinedStr({','.join(part for part in parts if part != ascii(''))})"
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._bind(node)
        if isinstance(node, ast.ClassDef) and SETTINGS in map(_dotted, node.bases):
            methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
            return f"ClassDef({node.name},{self._read(methods)})"
        if isinstance(node, ast.AST):
            fields = ((key, getattr(node, key, None)) for key in node._fields if key not in SKIPPED)
            parts = [f"{key}={self._read(field)}" for key, field in fields if field not in EMPTY]
            return f"{type(node).__name__}({','.join(parts)})"
        if isinstance(node, list):
            return f"[{','.join(self._read(each) for each in node if not _does_nothing(each))}]"
        return ascii(node)

    def _bind(self, statement: ast.Import | ast.ImportFrom) -> None:
        base = ""
        if isinstance(statement, ast.ImportFrom):
            relative = "." * statement.level + (statement.module or "")
            base = resolve_name(relative, self.package) + "."
        for alias in statement.names:
            target = base + alias.name
            local = target if alias.name == WHOLE else alias.asname or alias.name
            _add(self.imports, {local: {target}})
            if "." in local:  # `import a.b` loads a.b and binds a
                first = local.partition(".")[0]
                _add(self.imports, {first: {first}})


def _add(to: dict[str, set[str]], more: dict[str, set[str]]) -> None:
    for key, values in more.items():
        to.setdefault(key, set()).update(values)


def _dotted(node: ast.AST) -> str:
    """`a` or `a.b.c`; empty for the attribute of something that is no name."""
    attributes = []
    while isinstance(node, ast.Attribute):
        attributes.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(attributes)]) if isinstance(node, ast.Name) else ""


def _does_nothing(node: object) -> bool:
    """A docstring, or another constant that stands alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


@cache
def _definition(root: Path, module: str, name: str) -> tuple[str, set[tuple[str, str]]]:
    """Canonical text of one definition, and the (module, name) pairs that it reaches."""
    files, source = _files(root), _module(root, module)
    if name not in source.definitions and name not in source.imports:  # the whole module
        below = {(other, WHOLE) for other in files if other.startswith(f"{module}.")}
        return "", below | {(module, each) for each in (*source.definitions, *source.imports)}
    parts = source.definitions.get(name, [])
    inside: dict[str, set[str]] = {}
    for part in parts:
        _add(inside, part.imports)
    bound = {(name, target) for target in source.imports.get(name, ())}  # imported, and handed on
    targets = {target for _, target in bound}.union(*(part.strings & set(files) for part in parts))
    reached = {(module, ON_IMPORT)}
    for dotted in set().union(*(part.names for part in parts)):
        first, dot, rest = dotted.partition(".")
        for target in source.imports.get(first, set()) | inside.get(first, set()):
            bound.add((first, target))
            targets.add(target + dot + rest)
        if first in source.definitions:
            reached.add((module, first))
    for imported in (source.imports if name == ON_IMPORT else inside).values():
        reached |= {(each, ON_IMPORT) for target in imported for each in _modules(files, target)}
        targets |= {target for target in imported if target.endswith(WHOLE)}
    for target in targets:
        if modules := _modules(files, target):
            rest = target.removeprefix(modules[-1]).lstrip(".")
            reached.add((modules[-1], rest.partition(".")[0] or WHOLE))
    lines = [part.text for part in parts]
    lines += sorted(f"{local} = {target}" for local, target in bound)
    return "\n".join(lines), reached


def _modules(files: dict[str, Path], dotted: str) -> list[str]:
    """Our modules that a dotted name begins with, from the package down; empty for others."""
    return [each for each in accumulate(dotted.split("."), "{}.{}".format) if each in files]
