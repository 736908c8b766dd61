"""The digest of a step's code: what the step runs changes it, and nothing else does."""

import ast
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from yoyak.errors import PROJECT_ROOT, UserError
from yoyak.run.code_digest import ENTRY_POINTS, SCRIPTS, _Statement, code_digest, step_digest

FILES = {
    "start.py": '''"""A small step."""
import math
from house.cellar import wine
from house.rooms import bath, hall as h
LIMIT = 3
SIZES = {"a": 1}
SIZES["b"] = 2
def step(x: int = 1) -> int:
    """Its work."""
    from house.attic import dust
    return math.floor(wine(x) + dust(f"{x:>{LIMIT}}")) + h.length() + tools(bath)["warm"]()
def neighbour():
    return 0
def tools(module):
    return vars(module)
if __name__ == "__main__":
    step()
''',
    "house/__init__.py": "",
    "house/cellar.py": """from house.barrels import Barrel as Kind
def wine(x):
    return Kind().of(x)
""",
    "house/barrels.py": """class Barrel:
    def of(self, x):
        return x
    def size(self):
        return 9
""",
    "house/attic.py": "import house.lamp\nfrom house.box import dust\nOTHER = 1\n",
    "house/box.py": """SIZE = 2
SIZE += 1
def dust(x):
    return SIZE
def beside():
    return 1
""",
    "house/lamp.py": "import os\nos.environ['LAMP'] = 'on'\n",
    "house/rooms/__init__.py": "",
    "house/rooms/bath.py": "def warm():\n    return 1\ndef cold():\n    return 0\n",
    "house/rooms/hall.py": """from . import door
import functools
@functools.cache
def length():
    return door.WIDTH
HEIGHT = 2
""",
    "house/rooms/door.py": """import typing
if typing.TYPE_CHECKING:
    import house.ghost
WIDTH = 1
""",
    "house/ghost.py": "def boo():\n    return 1\n",
}


@pytest.fixture
def digest(tmp_path):
    """Digest of `start:step` after edits: each a file, an old and a new text."""
    copies = itertools.count()

    def digest(*edits: tuple[str, str, str]) -> str:
        root = tmp_path / str(next(copies))  # in a new place, since a file is read once
        files = dict(FILES)
        for file, old, new in edits:
            assert old in files[file]
            files[file] = files[file].replace(old, new)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return code_digest("start:step", root=root)

    return digest


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("start.py", "LIMIT = 3", "# at most\n\nLIMIT = (3)  # three"),
        ("start.py", "Its work", "Its hard work"),
        ("start.py", '    """Its work."""\n', ""),
        ("start.py", '"""A small step."""', ""),
        ("start.py", "math.floor(", "math.floor(\n\n        "),
        ("start.py", '["warm"]', "['wa' 'rm']"),
        ("start.py", "return 0", "return 1"),
        ("start.py", "    step()\n", "    step(2)\n"),
        ("start.py", "import math", "import json, math\nfrom house import ghost"),
        ("house/box.py", "return 1", "return 2"),
        ("house/attic.py", "OTHER = 1", "OTHER = 2"),
        ("house/rooms/hall.py", "HEIGHT = 2", "HEIGHT = 3"),
        ("house/ghost.py", "return 1", "return 2"),
    ],
)
def test_what_the_step_does_not_run_changes_nothing(digest, file, old, new):
    assert digest((file, old, new)) == digest()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("start.py", "LIMIT = 3", "LIMIT = 4"),
        ("start.py", "x: int = 1", "x: int = 2"),
        ("start.py", "x: int", "x: float"),
        ("start.py", ":>{LIMIT}", ":<{LIMIT}"),
        ("start.py", 'SIZES["b"] = 2', 'SIZES["b"] = 3'),
        ("start.py", "import math", "import cmath as math"),
        ("start.py", "bath, hall as h", "hall as bath, hall as h"),
        ("house/cellar.py", "of(x)", "of(-x)"),
        ("house/barrels.py", "return 9", "return 8"),  # a class counts whole
        ("house/box.py", "SIZE = 2", "SIZE = 3"),  # handed on by the attic
        ("house/box.py", "SIZE += 1", "SIZE += 2"),
        ("house/lamp.py", "'on'", "'off'"),  # happens on import
        ("house/rooms/bath.py", "return 0", "return 2"),  # a module used as a value
        ("house/rooms/hall.py", "@functools.cache\n", ""),
        ("house/rooms/door.py", "WIDTH = 1", "WIDTH = 2"),
    ],
)
def test_what_the_step_runs_changes_it(digest, file, old, new):
    assert digest((file, old, new)) != digest()


@pytest.mark.parametrize(
    ("imported", "value"),
    [
        ("from house.ghost import *", "3"),
        ("from house.ghost import gone", "gone"),
        ("import house.ghost", "getattr(house.ghost, 'boo')"),
        ("import house", "house"),
        ("import importlib", "importlib.import_module('house.ghost')"),
    ],
)
def test_what_cannot_be_told_takes_the_whole_module(digest, imported, value):
    edits = [("start.py", "import math", f"import math\n{imported}")]
    edits.append(("start.py", "LIMIT = 3", f"LIMIT = {value}"))
    assert digest(*edits) != digest(*edits, ("house/ghost.py", "return 1", "return 2"))


def test_entry_points_that_are_gone_and_files_that_do_not_parse_are_one_line(digest, tmp_path):
    digest()
    for entry in ("start:gone", "house.gone:step"):
        with pytest.raises(UserError, match=f"ENTRY_POINTS: {entry} is not defined"):
            code_digest(entry, root=tmp_path / "0")
    with pytest.raises(UserError, match=r"box\.py: line 2: "):
        digest(("house/box.py", "SIZE += 1", "SIZE +="))


# ---- the project's own steps ----


def changed_steps(tmp_path: Path, *places: tuple[str, str | None]) -> set[str]:
    """Steps whose digest changes with one more statement in functions, or else a comment."""
    copy = tmp_path / "scripts"
    shutil.copytree(SCRIPTS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for file, function in places:
        lines = (copy / file).read_text(encoding="utf-8").splitlines()
        if function is None:
            lines = ["# A comment.", *lines, "# Another."]
        else:
            (found,) = (
                node
                for node in ast.walk(ast.parse("\n".join(lines)))
                if isinstance(node, ast.FunctionDef) and node.name == function
            )
            lines.insert(found.end_lineno, " " * found.body[0].col_offset + "pass")
        (copy / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {step for step in ENTRY_POINTS if step_digest(step, root=copy) != step_digest(step)}


@pytest.mark.parametrize(
    ("file", "function", "steps"),
    [
        ("yoyak/training/loss.py", "_head_loss", {"train"}),
        ("yoyak/kernels/triton_layers.py", "swiglu", {"train", "generate"}),
        ("yoyak/generation/plan.py", "plan_generation", {"generate"}),
        ("yoyak/generation/summaries.py", "write_summaries", set()),  # LLMTrainer.evaluate
        ("yoyak/scoring/scores.py", "score_texts", set()),  # the same
        ("yoyak/run/manual.py", "refuse_to_replace", set()),  # no folder of a study
        ("yoyak/data/splits.py", "hold_out", {"prepare_data"}),
        ("yoyak/training/examples.py", "build_dataset", {"build_dataset"}),
        ("yoyak/reporting/score_plots.py", "score_bars", {"plot"}),
    ],
)
def test_a_changed_line_concerns_the_steps_that_run_it(tmp_path, file, function, steps):
    assert changed_steps(tmp_path, (file, function)) == steps


def test_comments_arguments_and_settings_concern_no_step(tmp_path):
    places = [
        ("yoyak/data/data_card.py", None),
        ("yoyak/training/loss.py", None),
        ("train_llm.py", "parse_arguments"),
        ("yoyak/training/examples.py", "build_examples"),
        ("yoyak/config/loading.py", "load_config"),
        ("yoyak/run/code_digest.py", "step_digest"),
    ]
    assert changed_steps(tmp_path, *places) == set()


def test_every_rule_has_the_digest_of_a_step():
    rules = "".join(
        file.read_text(encoding="utf-8")
        for file in (PROJECT_ROOT / "workflow" / "rules").glob("*.smk")
    )
    assert rules.count("code=digest(") == rules.count("script=script(")
    for step in ENTRY_POINTS:
        assert f'code=digest("{step}")' in rules


def test_an_empty_part_of_an_f_string_is_nothing():
    """Python 3.12 adds one behind `{width}`, other versions do not."""
    (statement,) = ast.parse('f"{x:>{width}}"').body
    before = _Statement(statement, "").text
    statement.value.values[0].format_spec.values.append(ast.Constant(""))
    assert _Statement(statement, "").text == before


def other_pythons() -> list[str]:
    own = sys.version_info.minor
    named = (shutil.which(f"python3.{minor}") for minor in range(11, 20) if minor != own)
    return [python for python in named if python and "shims" not in python]


@pytest.mark.parametrize("python", other_pythons())
def test_other_versions_of_python_read_the_same(python):
    code = "from yoyak.run.code_digest import *; print(*map(step_digest, ENTRY_POINTS))"
    libraries = [str(SCRIPTS), *filter(None, sys.path)]  # this Python's yaml, in its plain form
    libraries = [path for path in libraries if "lib/python" not in path or "site-" in path]
    done = subprocess.run(
        [python, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(libraries)},
        capture_output=True,
        text=True,
    )
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.stdout.split() == list(map(step_digest, ENTRY_POINTS)), done.stderr
