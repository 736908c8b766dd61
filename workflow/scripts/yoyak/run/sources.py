"""Which source files a script really imports: read from its syntax, without importing anything."""

import ast
from functools import cache
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2]


def source_modules(script: Path, root: Path = SCRIPTS) -> list[Path]:
    """The script and every module below `root` that it imports, directly or through another.

    Imports inside functions count, since they run too; imports under `if TYPE_CHECKING:` do not.
    A package's `__init__.py` counts wherever one of its modules is imported. Modules named only
    at run time (`importlib.import_module(name)`) cannot be seen. A file that is missing or does
    not parse imports nothing: running it will say so better than this function could.

    Returns absolute paths, sorted, so that equal imports give equal lists.
    """
    found: set[Path] = set()
    waiting = [Path(script).absolute()]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting.extend(_imports(file, Path(root).absolute()))
    return sorted(found)


@cache
def _imports(file: Path, root: Path) -> list[Path]:
    """Files below `root` that the import statements of one file name."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    files: list[Path] = []
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                files += _module_files(root, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            parts = _absolute(node, file, root)
            files += _module_files(root, parts)
            for alias in node.names:  # `from package import module` names a module too
                files += _module_files(root, [*parts, alias.name])
    return files


def _statements(node: ast.AST):
    """Every node below `node` but those under `if TYPE_CHECKING:`, which never run."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from _statements(other)
            continue
        yield child
        yield from _statements(child)


def _absolute(node: ast.ImportFrom, file: Path, root: Path) -> list[str]:
    """Dotted name of the module that `from … import` starts at, dots resolved."""
    parts = node.module.split(".") if node.module else []
    if node.level == 0 or not file.is_relative_to(root):
        return parts
    package = file.relative_to(root).parent.parts
    return [*package[: len(package) - node.level + 1], *parts]


def _module_files(root: Path, parts: list[str]) -> list[Path]:
    """The module's file with the `__init__.py` of each package above it; empty if not ours."""
    if not parts:
        return []
    files = []
    for depth in range(1, len(parts) + 1):
        stem = root.joinpath(*parts[:depth])
        package = stem / "__init__.py"
        if package.is_file():
            files.append(package)
        elif stem.with_suffix(".py").is_file() and depth == len(parts):
            files.append(stem.with_suffix(".py"))
        else:
            break  # `from yoyak.x import name`: the name is no module
    return files
