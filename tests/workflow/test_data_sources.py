"""Data that are no single file: a dataset on the Hub, and folders, in real runs and dry runs."""

import json
import os
import socket
import time

import pytest
from data_shapes import COLUMNS, SHAPES, conversations, save_to_disk, texts, write_csv, write_lines
from local_hub import COMMIT, DatasetHub, asking, served
from workflow_project import SMALL, Project

CARD = "results/small-debug/data/data_card.json"


def project_with(bare, folder, **data) -> Project:
    project = bare.copy(folder)
    project.write_study("small", SMALL | {"data": {"columns": COLUMNS, **data}})
    return project


def prepared(project: Project) -> dict[str, bytes]:
    project.run(CARD)
    names = ("train.csv", "selection.csv", "dev.csv")
    return {name: (project.results / "data" / name).read_bytes() for name in names}


def test_a_dataset_on_the_hub_is_fetched_by_prepare_data_alone(bare, tmp_path, monkeypatch):
    hub = {"train": "hf:owner/talks", "dev": "hf:owner/talks"}
    project = project_with(bare, tmp_path / "hub", **hub)
    folder = tmp_path / "served" / "owner" / "talks"
    folder.mkdir(parents=True)
    files = {}
    for key, first in (("train", 0), ("dev", 20)):
        rows = texts(conversations(first, 20))
        write_lines(folder / f"{'validation' if key == 'dev' else key}.jsonl", rows)
        files[key] = str(write_csv(tmp_path / f"{key}.csv", rows))

    def ask(port: int) -> None:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        for name, value in asking(tmp_path / "cache", port).items():
            monkeypatch.setenv(name, value)

    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        ask(hanging.getsockname()[1])
        began = time.monotonic()
        assert project.planned()["prepare_data"] == 1
        assert time.monotonic() - began < 60
        hanging.settimeout(0.1)
        with pytest.raises(TimeoutError):
            hanging.accept()  # nobody asked
    with served(DatasetHub) as server:
        server.folder = tmp_path / "served"
        ask(server.server_port)
        of_hub = prepared(project)
    assert of_hub == prepared(project_with(bare, tmp_path / "local", **files))
    card = json.loads((project.folder / CARD).read_text(encoding="utf-8"))["files"]
    assert card["dev"]["path"] == "hf:owner/talks?split=validation"
    assert card["dev"]["revision"] == COMMIT and list(card["dev"]["sha256"]) == ["validation.jsonl"]
    record = json.loads((project.results / "data" / "run.json").read_text(encoding="utf-8"))
    assert record["files"] == card
    assert "prepare_data" not in project.planned()


def test_a_changed_file_in_a_folder_prepares_the_data_again(bare, tmp_path):
    saved = tmp_path / "saved"
    save_to_disk(saved, texts(conversations(0, 20)))
    documents = tmp_path / "documents"
    documents.mkdir()
    for part in (20, 24):
        SHAPES["JSON document"][1](documents / str(part), conversations(part, 4))
    folders = {"train": str(saved), "dev": str(documents)}
    project = project_with(bare, tmp_path / "project", **folders)
    project.run(CARD)
    for file in (documents / "24.json", next(saved.glob("*.arrow"))):
        before, times = file.read_bytes(), file.stat()
        file.write_bytes(before[:-1] + b" ")
        assert project.planned()["prepare_data"] == 1, file
        file.write_bytes(before)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "prepare_data" not in project.planned()
