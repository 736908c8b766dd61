"""One finished debug study, shared by the tests that look at it or go on from it."""

import pytest
from workflow_project import Project


@pytest.fixture(scope="session")
def bare(tmp_path_factory) -> Project:
    """A project in which nothing has run. Only to be read, or copied."""
    return Project.fresh(tmp_path_factory.mktemp("bare") / "요약 project")


@pytest.fixture(scope="session")
def finished(bare, tmp_path_factory) -> Project:
    """A project whose debug study is done. Only to be read, or copied."""
    project = bare.copy(tmp_path_factory.mktemp("finished") / "요약 study")
    project.run()
    return project
