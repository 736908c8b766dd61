"""The pinned environments agree with each other and with what the code imports."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ENVS = ROOT / "envs"
# Packages whose import has another name than the package.
IMPORT_NAMES = {"mecab": "python_mecab_ko", "pynvml": "nvidia_ml_py", "yaml": "pyyaml"}
# Imported only where they happen to be installed; each place says what to install.
OPTIONAL = {"datasets", "gguf", "mlflow", "pyarrow", "trackio", "triton", "wandb"}


def pins(file: str) -> dict[str, str]:
    """name → version of a requirements file; every line must pin exactly."""
    lines = (ENVS / file).read_text(encoding="utf-8").splitlines()
    return dict(pin(line) for line in lines if line and not line.startswith("#"))


def pin(line: str) -> tuple[str, str]:
    match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
    assert match, f"{line!r} is no exact pin"
    return re.sub(r"[-_.]+", "-", match[1]).lower(), match[2]


@pytest.mark.parametrize("name", ["requirements", "requirements-dev", "cluster"])
def test_lock_holds_every_direct_pin(name):
    lock = pins(f"{name}.lock")
    assert {name: lock.get(name) for name in pins(f"{name}.txt")} == pins(f"{name}.txt")


def test_the_trackers_are_those_that_the_tests_run():
    assert pins("tracking.txt").items() <= pins("requirements-dev.txt").items()


def test_lock_leaves_the_build_of_torch_open_and_holds_no_kernels():
    lock = pins("requirements.lock")
    assert lock["torch"] == "2.13.0"
    assert "kernels" not in lock  # with it, bitsandbytes fetches code at import
    assert [name for name in lock if name.startswith("nvidia")] == ["nvidia-ml-py"]  # no CUDA


def test_dev_lock_repeats_nothing():
    assert not set(pins("requirements.lock")) & set(pins("requirements-dev.lock"))


@pytest.mark.parametrize("name", ["training", "reporting"])
def test_conda_files_agree_with_the_pins(name):
    conda = yaml.safe_load((ENVS / f"{name}.yaml").read_text(encoding="utf-8"))
    (of_pip,) = (part["pip"] for part in conda["dependencies"] if isinstance(part, dict))
    direct = pins("requirements.txt")
    assert dict(map(pin, of_pip)).items() <= direct.items()


def test_every_import_of_the_library_is_pinned():
    names = {IMPORT_NAMES.get(name, name) for name in imports(ROOT / "workflow" / "scripts")}
    direct = {name.replace("-", "_") for name in pins("requirements.txt")}
    assert names - OPTIONAL - direct == set()


def test_what_is_built_and_hooked_has_the_locks_versions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert dict(map(pin, project["build-system"]["requires"])).items() <= (
        pins("requirements.lock").items()
    )
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == project["project"]["version"]
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    hooks = [hook for repo in yaml.safe_load(text)["repos"] for hook in repo["hooks"]]
    assert all(hook["entry"].startswith(".venv/bin/python -m ") for hook in hooks)


def test_no_registry_is_named():
    for file in [*ENVS.iterdir(), ROOT / "Makefile", ROOT / ".ci" / "run", ROOT / "pyproject.toml"]:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"https?://|index-url|find-links", text), file.name


def imports(folder: Path) -> set[str]:
    """Top-level names of the third-party modules that the files below a folder import."""
    files = list(folder.rglob("*.py"))
    ours = {file.stem for file in files} | {"yoyak"}
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.split(".")[0])
    return found - ours - set(sys.stdlib_module_names)
