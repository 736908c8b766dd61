"""Write the picture of the library in CONTRIBUTING.md, from the imports of its modules.

  make picture

An arrow is an import. Arrows that follow from others (a → c beside a → b → c) are left out.
tests/unit/test_floors.py compares the picture with the imports.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "workflow" / "scripts"
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- written by docs/make_house.py -->", "<!-- end -->"


def main() -> None:
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{picture()}{END}{after}", encoding="utf-8")
    print(f"wrote {PAGE}")


def picture() -> str:
    """A Mermaid flowchart of the packages, which GitHub and most editors draw."""
    edges = reduced(package_imports())
    lines = [f"    {source} --> {target}" for source in sorted(edges) for target in edges[source]]
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```", ""])


def package_imports() -> dict[str, set[str]]:
    """The packages of the library that each package, and the scripts together, import."""
    packages = {path.parent.name for path in (SCRIPTS / "yoyak").glob("*/__init__.py")}
    found: dict[str, set[str]] = {name: set() for name in packages | {"scripts"}}
    for file in SCRIPTS.rglob("*.py"):
        parts = file.relative_to(SCRIPTS).parts
        own = "scripts" if len(parts) == 1 else parts[1]
        if own in found:
            found[own] |= {name.split(".")[1] for name in imports(file) if "." in name}
    return {own: (names & packages) - {own} for own, names in found.items()}


def imports(file: Path) -> set[str]:
    """Dotted names that a file imports from yoyak, `from yoyak.x import y` as yoyak.x."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{file.name}: write the whole name"
            found.add(node.module)
            if node.module.count(".") <= 1:  # may name modules
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "yoyak"}


def reduced(edges: dict[str, set[str]]) -> dict[str, list[str]]:
    """Each package's imports, without those that another import leads to; there is no circle."""

    def below(name: str) -> set[str]:
        return set().union(*(below(target) | {target} for target in edges[name]))

    return {
        name: sorted(targets - set().union(*(below(target) for target in targets)))
        for name, targets in edges.items()
    }


if __name__ == "__main__":
    main()
