"""One scored study for all tests that only read it: building it takes some seconds."""

import pytest
from fixture_results import build_results, fixture_study


@pytest.fixture(scope="session")
def scored_study():
    """2 models × 2 formats × {none, templates} × seed 42, four tokenizers, few resamples."""
    return fixture_study(resamples=300)


@pytest.fixture(scope="session")
def scored_results(tmp_path_factory, scored_study):
    """Results folder of `scored_study`, made by the scripts' own functions: read only."""
    return build_results(tmp_path_factory.mktemp("study") / scored_study.name, scored_study)
