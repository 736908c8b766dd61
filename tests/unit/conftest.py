"""What several files need: a scored study, checkpoints of tiny models, a machine with GPUs."""

import os
import textwrap

import pytest
from fixture_results import build_results, fixture_study
from study_files import PLAIN

from yoyak.config.study import load_study


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


@pytest.fixture(scope="module", params=["tied", "untied"])
def folder(request, folders):
    return folders[request.param]


@pytest.fixture(scope="session")
def plain_folder(folders):
    return folders["tied"]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Returns a function that says which GPUs there are; locks and devices are the test's own."""
    import fake_nvml

    from yoyak.errors import PROJECT_ROOT
    from yoyak.run import devices

    (tmp_path / "tmp").mkdir()
    (tmp_path / "dev").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(devices, "DEVICES", tmp_path / "dev")
    monkeypatch.setattr(devices, "pynvml", fake_nvml)
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_STEP_GPUS", "SLURM_JOB_GPUS"):
        monkeypatch.delenv(name, raising=False)

    def shows(found: object) -> None:
        variables = fake_nvml.show(tmp_path, found)
        scripts = str(PROJECT_ROOT / "workflow" / "scripts")
        variables["PYTHONPATH"] += os.pathsep + scripts
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    shows(None)
    return shows


@pytest.fixture
def write_study(tmp_path, monkeypatch):
    """Writes config/studies/mine.yaml of a folder of its own: PLAIN with lines replaced."""
    folder = tmp_path / "config" / "studies"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    def write(text=PLAIN, in_debug=False, **replaced):
        lines = textwrap.dedent(text).strip().splitlines()
        for key, line in replaced.items():
            lines = [old for old in lines if not old.startswith(f"{key}:")]
            if line is not None:
                lines.append(f"{key}: {line}")
        (folder / "mine.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return load_study("mine", in_debug)

    return write
