"""Shared by all tests: tiny tensors gain nothing from threads and lose much on a busy machine."""

import gc
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from workflow_project import Project

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


# The long files first, those that need no finished study beside those that do: no worker of
# `pytest -n` then waits for another, or ends long after it.
LONG = (
    *("workflow/test_kills", "workflow/test_readme_commands", "workflow/test_slurm"),
    *("workflow/test_two_devices", "workflow/test_reruns"),
    *("workflow/", "inputs/", "unit/test_hub", "unit/test_report_html"),
)


# What is imported stays: looking through it for garbage again and again takes longer than a test.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        path = item.nodeid.partition("tests/")[2]
        return next((n for n, start in enumerate(LONG) if path.startswith(start)), len(LONG))

    items.sort(key=place)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first worker of `pytest -n` to need it makes, and the others wait for."""
    common = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    folder, done = common / name, common / f"{name} is whole"
    with FileLock(common / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def reported_study(tmp_path_factory):
    """A study and its results folder with made-up predictions, real tables, plots and report."""
    from fixture_report import build_report_results, report_study

    from yoyak.reporting.html import render_report
    from yoyak.reporting.plots import write_plots

    study = report_study()

    def make(folder: Path) -> None:
        _, results = build_report_results(folder, study)
        (results / "plots").mkdir()
        write_plots(study, results, results / "plots")
        (results / "report.html").write_text(render_report(study, results), encoding="utf-8")

    return study, made_once(tmp_path_factory, "reported", make) / study.name


@pytest.fixture(scope="session")
def korean_study(reported_study, tmp_path_factory):
    """The same results with plots and report in Korean; a letter that no font has is an error."""
    from fixture_report import in_korean

    from yoyak.reporting.html import render_report
    from yoyak.reporting.plots import write_plots

    study = in_korean(reported_study[0])

    def make(results: Path) -> None:
        for folder in reported_study[1].iterdir():
            if folder.is_dir() and folder.name != "plots":
                (results / folder.name).symlink_to(folder)
        (results / "plots").mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            write_plots(study, results, results / "plots")
        (results / "report.html").write_text(render_report(study, results), encoding="utf-8")

    return study, made_once(tmp_path_factory, "korean", make)


@pytest.fixture(scope="session")
def bare(tmp_path_factory) -> Project:
    """A project in which nothing has run. Only to be read, or copied."""
    return Project.fresh(tmp_path_factory.mktemp("bare") / "요약 project")


@pytest.fixture(scope="session")
def finished(bare, tmp_path_factory) -> Project:
    """A project whose debug study is done. Only to be read, or copied.

    Its `shown` is what stood on the terminal.
    """

    def make(folder: Path) -> None:
        shown = bare.copy(folder / "요약 study").run()
        (folder / "shown").write_text(shown, encoding="utf-8")

    folder = made_once(tmp_path_factory, "finished", make)
    project = Project(folder / "요약 study")
    project.shown = (folder / "shown").read_text(encoding="utf-8")
    return project
