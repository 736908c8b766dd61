"""The library's four floors, and scripts that start fast."""

import ast
import os
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest
from make_house import PAGE, imports, picture

from yoyak.errors import PROJECT_ROOT

SCRIPTS = PROJECT_ROOT / "workflow" / "scripts"
LIBRARY = SCRIPTS / "yoyak"
MODULES = sorted(LIBRARY.rglob("*.py"))
# What a package may import beside itself.
BELOW = {
    "config": set(),
    "data": {"config", "run"},
    "kernels": {"models", "run", "config"},
    "models": {"config", "run"},
    "run": {"config"},
    "training": {"data", "models", "kernels", "run", "config"},
    "generation": {"data", "models", "kernels", "run", "config"},
    "scoring": {"data", "run", "config"},
    "reporting": {"data", "run", "config"},
}
# The one step sideways: LLMTrainer.evaluate(rouge=True), as the description has it.
SIDEWAYS = {("training", "yoyak.generation"), ("training", "yoyak.scoring")}
HEAVY = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "datasets")
HEAVY += ("matplotlib", "kiwipiepy")
LIGHT_SCRIPTS = ("prepare_data", "floors", "score", "compare", "plot", "report", "submission")
SECONDS = 0.5


def package_of(file) -> str:
    parts = file.relative_to(LIBRARY).parts
    return parts[0] if len(parts) > 1 else ""


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(LIBRARY)))
def test_imports_only_go_down(file):
    own = package_of(file)
    for name in imports(file):
        if any(name.startswith(target) for place, target in SIDEWAYS if place == own):
            continue
        parts = name.split(".")
        if len(parts) > 1 and parts[1] in BELOW:
            assert parts[1] == own or parts[1] in BELOW[own], f"{own} imports {name}"


def test_every_package_has_a_floor():
    folders = {path.name for path in LIBRARY.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == set(BELOW)


def test_the_picture_in_contributing_is_made_from_the_imports():
    assert picture() in PAGE.read_text(encoding="utf-8"), "make picture"


def test_no_circular_imports():
    names = {file: file.relative_to(SCRIPTS).with_suffix("").parts for file in MODULES}
    files = {".".join(name): file for file, name in names.items()}  # packages are x.__init__
    edges = {file: {files[name] for name in imports(file) if name in files} for file in MODULES}
    TopologicalSorter(edges).prepare()  # CycleError names the circle


def test_nobody_imports_a_script_and_the_library_no_snakemake():
    scripts = {path.stem for path in SCRIPTS.glob("*.py")}
    for file in [*MODULES, *SCRIPTS.glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_bytes())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            tops = {name.split(".")[0] for name in names}
            assert not tops & ({"snakemake"} | scripts), file


def test_models_data_and_run_read_no_settings_file():
    for file in MODULES:
        if package_of(file) != "config":
            text = file.read_text(encoding="utf-8")
            assert "load_study(" not in text and "load_config(" not in text, file


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SCRIPTS)}


def loaded(name: str) -> list[str]:
    """Modules that a script's --help loads, in their order."""
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['{name}.py', '--help']\n"
        "try:\n"
        f"    runpy.run_path(r'{SCRIPTS / name}.py', run_name='__main__')\n"
        "except SystemExit as leave:\n"
        "    assert not leave.code, leave.code\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    assert f"{name}.py" in done.stdout, "an example in the help"
    return done.stdout.splitlines()[-1].split()


@pytest.mark.parametrize("name", sorted(path.stem for path in SCRIPTS.glob("*.py")))
def test_help_has_examples_and_loads_nothing_heavy(name):
    heavy = set(loaded(name)) & set(HEAVY)
    assert not heavy or name not in LIGHT_SCRIPTS


def processor_seconds(*arguments) -> float:
    """The least of three runs."""
    took = []
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, *map(str, arguments)], stdout=subprocess.DEVNULL, env=ENVIRONMENT
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        took.append(used.ru_utime + used.ru_stime)
    return min(took)


@pytest.mark.parametrize("name", LIGHT_SCRIPTS)
def test_a_light_script_starts_as_fast_as_its_libraries(name):
    """In processor time, which other processes hardly change; ours is a tenth of a second."""
    libraries = [module for module in loaded(name) if module.partition(".")[0] != "yoyak"]
    bare = (
        "import contextlib, importlib\n"
        f"for name in {libraries}:\n"
        "    with contextlib.suppress(ImportError):\n"
        "        importlib.import_module(name)\n"
    )
    own = processor_seconds(SCRIPTS / f"{name}.py", "--help") - processor_seconds("-c", bare)
    assert own < SECONDS, f"{name}.py --help takes {own:.1f} s more than to import its libraries"
