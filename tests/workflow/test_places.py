"""Where the project, its results and the working directory lie makes no difference."""

import subprocess
import sys
from pathlib import Path

import pytest
from workflow_project import ROOT, Project, environment


def snakemake(snakefile: Path, folder: Path, *arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), *arguments],
        cwd=folder,
        env=environment() | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def files_of(project: Project) -> list[Path]:
    return sorted(file for file in project.folder.rglob("*") if "__pycache__" not in file.parts)


def test_another_working_directory_gets_all_results(bare, tmp_path):
    """`--directory`: nothing is written beside the Snakefile, no file names where it was made."""
    project = bare.copy(tmp_path / "요약 project")
    elsewhere = tmp_path / "다른 place"
    elsewhere.mkdir()
    before = files_of(project)
    target = "results/small-debug/data/run.json"
    settings = ["--config", "study=small", "debug=true"]
    options = ["--directory", str(elsewhere), "--cores", "1", "--resources", "gpu=1"]
    snakemake(project.path("Snakefile"), elsewhere, target, *options, *settings)
    assert files_of(project) == before
    made = [file for file in (elsewhere / "results").rglob("*") if file.is_file()]
    assert elsewhere / target in made
    assert [file for file in made if str(elsewhere).encode() in file.read_bytes()] == []

    moved = tmp_path / "moved"
    elsewhere.rename(moved)
    options[1] = str(moved)
    assert "Nothing to be done" in snakemake(
        project.path("Snakefile"), moved, target, *options, *settings
    )


def test_the_library_is_that_of_the_checkout_not_one_that_is_installed(bare, tmp_path):
    """One .venv for two checkouts: `pip install -e .` of one leaves the other its own code."""
    (tmp_path / "yoyak").mkdir()
    (tmp_path / "yoyak" / "__init__.py").write_text("raise SystemExit('another checkout')")
    options = ["-n", "--config", "study=small", "debug=true"]
    shown = snakemake(bare.path("Snakefile"), bare.folder, *options, PYTHONPATH=str(tmp_path))
    assert "Job stats" in shown


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no clone can be made of what is no clone")
def test_a_clone_at_a_path_with_blanks_and_hangul_runs_the_debug_study(tmp_path):
    """The default study, all its cells, from nothing but what is committed."""
    clone = tmp_path / "내 요약 프로젝트 (copy)"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True, timeout=300)
    options = ["--cores", "2", "--resources", "gpu=1", "--config", "debug=true"]
    snakemake(clone / "Snakefile", clone, *options)
    project = Project(clone)
    assert project.path("results/embedded-debug/report.html").stat().st_size > 100_000
    assert len(list(project.path("results/embedded-debug/submission").glob("*.csv"))) == 16
