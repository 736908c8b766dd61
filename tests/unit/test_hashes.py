"""Hashes of large files, remembered from one process to the next."""

import os

import pytest

from yoyak.run import hashes
from yoyak.run.workspace import hash_file


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A large file, and a list of the files whose bytes were read."""
    monkeypatch.setenv("YOYAK_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "model.safetensors"
    file.write_bytes(bytes(hashes.SMALL))
    read = []
    monkeypatch.setattr(hashes, "hash_file", lambda path: read.append(path) or hash_file(path))
    return file, read


def test_a_large_file_is_read_once_until_it_changes(weights):
    file, read = weights
    first = hashes.remembered_hash(file)
    assert hashes.remembered_hash(file) == first == hash_file(file) and len(read) == 1
    file.write_bytes(b"1" * hashes.SMALL)  # as long as before
    os.utime(file, ns=(1, 1))
    assert hashes.remembered_hash(file) == hash_file(file) != first and len(read) == 2


@pytest.mark.parametrize("damaged", ["{cut", "[1]", "7"])
def test_a_damaged_memory_costs_only_time(weights, damaged):
    file, read = weights
    memory = hashes.cache_folder() / "sha256.json"
    memory.parent.mkdir()
    memory.write_text(damaged)
    assert hashes.remembered_hash(file) == hash_file(file)
    hashes.remembered_hash(file)
    assert len(read) == 1  # and it is whole again
