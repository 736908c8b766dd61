"""source_modules: what a script imports, directly or not, and nothing else."""

import time

import pytest

from yoyak.run.sources import SCRIPTS, source_modules

FILES = {
    "start.py": "import json\nfrom house.cellar import wine\n",
    "house/__init__.py": "",
    "house/cellar.py": "from . import attic\nfrom house.rooms.bath import tub as t\n",
    "house/attic.py": "def look():\n    import house.window\n",
    "house/window.py": "import start\n",
    "house/rooms/__init__.py": "from .. import door\n",
    "house/rooms/bath.py": "tub = 1\n",
    "house/door.py": "import typing\nif typing.TYPE_CHECKING:\n    import house.ghost\n",
    "house/ghost.py": "",
    "house/broken.py": "def (:\n",
    "other.py": "import house.broken, house.nowhere\n",
}


@pytest.fixture
def root(tmp_path):
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def imported(root, script):
    return {str(file.relative_to(root)) for file in source_modules(root / script, root)}


def test_follows_every_kind_of_import_and_survives_circles(root):
    assert imported(root, "start.py") == set(FILES) - {
        "house/ghost.py",  # for type checkers only
        "house/broken.py",
        "other.py",
    }


def test_a_file_that_does_not_parse_imports_nothing(root):
    assert imported(root, "other.py") == {"other.py", "house/__init__.py", "house/broken.py"}


def test_a_missing_script_is_itself(root):
    assert imported(root, "gone.py") == {"gone.py"}


def test_the_real_scripts_know_what_they_need():
    start = time.perf_counter()
    found = {
        script.stem: {str(file.relative_to(SCRIPTS)) for file in source_modules(script)}
        for script in SCRIPTS.glob("*.py")
    }
    assert time.perf_counter() - start < 3
    assert "yoyak/training/llm_trainer.py" in found["train_llm"]
    assert "yoyak/reporting/score_plots.py" in found["plot"]
    # What is drawn or written about a result never changes the result.
    for script in ("prepare_data", "build_dataset", "train_llm", "generate", "score"):
        assert not [file for file in found[script] if file.startswith("yoyak/reporting/")]
    assert not [file for file in found["train_llm"] if file.startswith("yoyak/evaluation/")]
    assert not [file for file in found["generate"] if file.startswith("yoyak/training/")]


def test_imports_only_go_down_the_floors():
    """scripts → reporting | training, evaluation → data, models, run → settings."""
    below = {
        "settings": {"settings"},
        "run": {"run", "settings"},
        "data": {"data", "settings"},
        "models": {"models", "settings"},
        "training": {"training", "data", "models", "run", "settings"},
        "evaluation": {"evaluation", "data", "models", "run", "settings"},
        "reporting": {"reporting", "data", "models", "run", "settings"},
    }
    for floor, allowed in below.items():
        for file in (SCRIPTS / "yoyak" / floor).glob("*.py"):
            parts = [path.relative_to(SCRIPTS / "yoyak").parts for path in source_modules(file)]
            reached = {part[0] for part in parts if len(part) > 1}
            assert reached <= allowed, f"{floor}/{file.name} imports {reached - allowed}"
