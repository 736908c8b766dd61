"""What many tests only read: a scored study, and checkpoints of tiny models."""

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


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Checkpoints with tied embeddings, and with untied ones in two shards."""
    from tiny_models import write_checkpoint

    place = tmp_path_factory.mktemp("checkpoints")
    return {
        "tied": write_checkpoint(place / "tied", "llama"),
        "untied": write_checkpoint(
            place / "untied", "llama", shard="300KB", tie_word_embeddings=False
        ),
    }


@pytest.fixture(scope="session", params=["tied", "untied"])
def folder(request, folders):
    return folders[request.param]


@pytest.fixture(scope="session")
def plain_folder(folders):
    return folders["tied"]
