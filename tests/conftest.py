"""Shared by all tests: tiny tensors gain nothing from threads and lose much on a busy machine."""

import os

import pytest
from workflow_project import Project

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def reported_study(tmp_path_factory):
    """A study and its results folder with made-up predictions, real tables, plots and report."""
    from fixture_report import build_report_results

    from yoyak.reporting.html import render_report
    from yoyak.reporting.plots import write_plots

    study, results = build_report_results(tmp_path_factory.mktemp("reported"))
    (results / "plots").mkdir()
    write_plots(study, results, results / "plots")
    (results / "report.html").write_text(render_report(study, results), encoding="utf-8")
    return study, results


@pytest.fixture(scope="session")
def bare(tmp_path_factory) -> Project:
    """A project in which nothing has run. Only to be read, or copied."""
    return Project.fresh(tmp_path_factory.mktemp("bare") / "요약 project")


@pytest.fixture(scope="session")
def finished(bare, tmp_path_factory) -> Project:
    """A project whose debug study is done. Only to be read, or copied.

    Its `shown` is what stood on the terminal.
    """
    project = bare.copy(tmp_path_factory.mktemp("finished") / "요약 study")
    project.shown = project.run()
    return project
