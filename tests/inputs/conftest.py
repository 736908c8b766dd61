"""One copy of the project that every mistake is made in, and the processes that run its scripts."""

import shutil

import pytest
from forked_scripts import HEAVY, LIGHT, ScriptServer


@pytest.fixture(scope="session")
def servers(bare, tmp_path_factory):
    """Of a copy of the project: {"light": …, "heavy": …}, the heavy one started when asked for."""

    class Servers(dict):
        def __missing__(self, weight):
            folder = tmp_path_factory.mktemp(weight) / "요약 study"
            preload = HEAVY if weight == "heavy" else LIGHT
            self[weight] = ScriptServer(bare.copy(folder).folder, preload)
            return self[weight]

    running = Servers()
    yield running
    for server in running.values():
        server.close()


@pytest.fixture
def clean_again(bare):
    """Puts the files of a server's project back after a test."""
    used = []
    yield used.append
    for folder in used:
        for part in ("config", "data", "results", "logs", "checkpoint", "adapter"):
            shutil.rmtree(folder / part, ignore_errors=True)
            if (bare.folder / part).is_dir():
                shutil.copytree(bare.folder / part, folder / part)
