"""Every test that a page of documentation names is there."""

import ast
import re

import pytest

from yoyak.errors import PROJECT_ROOT

NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/faults.md"])
def test_every_named_test_exists(page):
    named = NAMED.findall((PROJECT_ROOT / page).read_text(encoding="utf-8"))
    assert len(named) > 10
    for file, test in named:
        tree = ast.parse((PROJECT_ROOT / file).read_text(encoding="utf-8"))
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert test in names, f"{page}: {file}::{test}"


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/faults.md"])
def test_every_row_has_its_test(page):
    lines = (PROJECT_ROOT / page).read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("|")][2:]
    assert rows and all(NAMED.search(row) for row in rows)
