"""A copy of the project for tests that run it: small, and at a path with blanks and Hangul."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("Snakefile", "config", "workflow", "profiles", "envs")
SMALL = {
    "description": "One tiny model in one format: the same path in a minute.",
    "language": "ko",
    "data": {
        "train": "workflow/resources/dialogues/train.csv",
        "dev": "workflow/resources/dialogues/dev.csv",
        "test": "workflow/resources/dialogues/test.csv",
    },
    "models": ["tiny_llama"],
    "formats": ["chat"],
    "augmentations": ["none", "templates"],
    "seeds": [42],
    "metric": {
        "primary": "morphemes",
        "tokenizers": ["morphemes", "characters"],
        "resamples": 500,
    },
}


class Project:
    """A copy of the project with a study `small` of two trainings, run as a user runs it."""

    shown = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def fresh(cls, folder: Path) -> "Project":
        folder.mkdir(parents=True)
        for part in PARTS:
            if (ROOT / part).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "situations")
                shutil.copytree(ROOT / part, folder / part, ignore=ignored)
            else:
                shutil.copy2(ROOT / part, folder / part)
        project = cls(folder)
        project.write_study("small", SMALL)
        # Often, so that a kill soon after the start finds something to resume from.
        project.replace(
            "config/base/causal_lm.yaml", "checkpoint_minutes: 15", "checkpoint_minutes: 0.02"
        )
        return project

    def copy(self, folder: Path) -> "Project":
        """Another project with the same files, times included, so that nothing reruns there."""
        half_written = shutil.ignore_patterns("*.pyc.*")  # by a script that is being imported
        shutil.copytree(self.folder, folder, symlinks=True, ignore=half_written)
        return Project(folder)

    def path(self, relative: str) -> Path:
        return self.folder / relative

    @property
    def results(self) -> Path:
        return self.folder / "results" / "small-debug"

    def write_study(self, name: str, study: dict) -> None:
        text = json.dumps(study, ensure_ascii=False, indent=1)  # JSON is YAML
        self.path(f"config/studies/{name}.yaml").write_text(text, encoding="utf-8")

    def replace(self, file: str, old: str, new: str) -> None:
        """Edit a file of the project as a user would; the old text must be there."""
        text = self.path(file).read_text(encoding="utf-8")
        assert old in text, f"{file} does not hold {old!r}"
        self.path(file).write_text(text.replace(old, new), encoding="utf-8")

    def command(self, *arguments: str) -> list[str]:
        config = ["--config", "study=small", "debug=true"] if "--config" not in arguments else []
        run = [] if {"-n", "--cores"} & set(arguments) else ["--cores", "2", "--resources", "gpu=1"]
        return [sys.executable, "-m", "snakemake", *arguments, *run, *config]

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        """Snakemake at work, its output thrown away where the options say nothing else."""
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        options = {**silent, "cwd": self.folder, "env": environment(), **options}
        return subprocess.Popen(self.command(*arguments), **options)

    def snakemake(self, *arguments: str, timeout: int = 900) -> subprocess.CompletedProcess:
        """Run snakemake to its end; stdout and stderr come together in `stdout`."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            env=environment(),
        )

    def run(self, *arguments: str) -> str:
        done = self.snakemake(*arguments)
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    def forget(self, *patterns: str) -> None:
        """Remove results, so that Snakemake makes them again."""
        for path in [path for pattern in patterns for path in self.results.glob(pattern)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def planned(self, *arguments: str) -> dict[str, int]:
        """Jobs that a dry run plans, by name; `all` left out."""
        shown = self.run("-n", *arguments)
        found = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\n\s*\n", shown, flags=re.S)
        if found is None:
            assert "Nothing to be done" in shown, shown[-3000:]
            return {}
        lines = (line.split() for line in found[1].splitlines())
        return {name: int(count) for name, count in lines if name not in ("all", "total")}


def environment() -> dict[str, str]:
    """This process's environment without what would tie a test to this checkout."""
    names = ("SNAKEMAKE_PROFILE", "PYTHONPATH", "CUDA_VISIBLE_DEVICES")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {**kept, "CUDA_VISIBLE_DEVICES": "", "OMP_WAIT_POLICY": "PASSIVE"}


def wait_for(condition, seconds: float, what: str):
    """Poll until `condition()` is true and return its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} s for {what}")
