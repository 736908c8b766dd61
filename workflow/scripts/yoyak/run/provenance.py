"""run.json: where a result came from, and the fingerprint that decides what may be resumed."""

import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import psutil

from yoyak.config.section import canonical
from yoyak.errors import PROJECT_ROOT
from yoyak.run.code_digest import step_digest
from yoyak.run.hashes import remembered_hash
from yoyak.run.workspace import atomic_write_json, hash_text

PACKAGES = (
    *("torch", "transformers", "peft", "bitsandbytes", "accelerate", "tokenizers", "safetensors"),
    *("numpy", "scipy", "pandas", "rouge-score", "kiwipiepy", "kiwipiepy_model", "matplotlib"),
    *("python-mecab-ko", "sacrebleu", "snakemake", "datasets", "pyarrow"),
)
NUMERIC_PACKAGES = PACKAGES[:6]
CODE = ("Snakefile", "config", "workflow")  # a new file there can change a result, too
SNAKEMAKES_MARK = ".snakemake_timestamp"


def write_run_record(
    path: Path, *, step: str, settings: dict, inputs: list[Path], **extras
) -> None:
    """Write run.json for one result.

    Args:
        path: the file to write, beside the result.
        step: name of the script's step, such as "train".
        settings: the effective settings that the step used.
        inputs: files whose SHA-256 is recorded (folders: every file below them).
        extras: further entries of the step: run, seed, execution, wall_seconds, tokens_per_second,
            peak_memory_gb and so on.
    """
    record = {
        "step": step,
        "command": command_line(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": git_state(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "hardware": hardware(),
        "settings": settings,
        "inputs": {_shown(file): remembered_hash(file) for file in _hashed(inputs)},
        **extras,
    }
    atomic_write_json(path, record)


def fingerprint(step: str, science: str, inputs: list[Path]) -> str:
    """Key of a work folder: equal only if resuming gives the result of an uninterrupted run.

    It covers the input files' bytes, the science settings, the code that the step runs and the
    numeric libraries' versions; never the execution settings.
    """
    parts = {
        "science": science,
        "inputs": [remembered_hash(file) for file in _hashed(inputs)],
        "code": step_digest(step),
        "packages": {name: package_versions().get(name) for name in NUMERIC_PACKAGES},
    }
    return hash_text(canonical(parts))[:16]


def command_line() -> str:
    """The command of this process, ready to paste at the project's root."""
    arguments = [_shown(Path(sys.argv[0]).absolute()), *sys.argv[1:]]
    if "--settings" in arguments:  # they stand in the record; by hand one names the study
        place = arguments.index("--settings")
        study = json.loads(arguments[place + 1])
        named = ["--study", study["study"], *(["--debug"] if study["debug"] else [])]
        arguments[place : place + 2] = named
    return "python " + " ".join(shlex.quote(argument) for argument in arguments)


def package_versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state() -> dict:
    """Commit, and whether settings or code differ from it; nulls outside a checkout of Yoyak."""
    nothing = {"commit": None, "dirty": None}
    try:
        if Path(_git("rev-parse", "--show-toplevel")) != PROJECT_ROOT:
            return nothing  # unpacked inside some other repository
        commit = _git("rev-parse", "HEAD")
        dirty = bool(_git("status", "--porcelain", "--untracked-files=all", "--", *CODE))
    except (OSError, subprocess.SubprocessError):
        return nothing
    return {"commit": commit, "dirty": dirty}


def hardware() -> dict:
    """Processor, cores and memory; the GPU too where this process has torch loaded."""
    memory = round(psutil.virtual_memory().total / 1e9, 1)
    found = {"cpu": _cpu_model(), "cores": os.cpu_count(), "memory_gb": memory, "gpu": None}
    torch = sys.modules.get("torch")  # importing it here would cost a light script a second
    if torch is not None and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        found["gpu"] = {
            "name": properties.name,
            "memory_gb": round(properties.total_memory / 1e9, 1),
            "cuda": torch.version.cuda,
        }
    return found


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(PROJECT_ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, check=True, timeout=30)
    return os.fsdecode(done.stdout).strip()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _hashed(inputs: list[Path]) -> list[Path]:
    """The files to hash: all inputs except Snakemake's timestamp file in a folder.

    That file is missing if Snakemake was killed and its orphaned job finished the folder.
    """
    files = []
    for path in map(Path, inputs):
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        files += inside if path.is_dir() else [path]
    return [file for file in files if file.name != SNAKEMAKES_MARK]


def _shown(path: Path) -> str:
    """A path relative to the working directory or the project, to hide home folders."""
    path = Path(path).absolute()
    for root in (Path.cwd(), PROJECT_ROOT):
        if path.is_relative_to(root):
            return str(path.relative_to(root))
    return f"…/{path.parent.name}/{path.name}"
