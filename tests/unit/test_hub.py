"""The Hub: away, silent, refusing, or breaking off amid the weights; each in one line.

A child process each, since the Hub's settings are read at import.
"""

import errno
import json
import logging
import socket
import subprocess
from http.server import BaseHTTPRequestHandler

import pytest
from local_hub import child, served
from test_checkpoints import model_section, one_line

from yoyak.errors import PROJECT_ROOT, disk_fault
from yoyak.models import checkpoints
from yoyak.models.checkpoints import hub_error, resolve_checkpoint

MODEL = PROJECT_ROOT / "workflow" / "resources" / "models" / "tiny_llama"
WEIGHTS = "model.safetensors"
COMMIT = "c0ffee" + "0" * 34
LOAD = """
    from yoyak.models.lora_loader import LoRALoader
    from yoyak.errors import run_script
    from yoyak.config.loading import load_config

    def main():
        config = load_config("tiny_llama")
        config.model.checkpoint, config.model.revision = "owner/tiny", "%s"
        model, _ = LoRALoader(config).load_model_and_tokenizer(seed=1)
        print("loaded", sum(p.numel() for p in model.parameters()))

    run_script(main)
"""


class Hub(BaseHTTPRequestHandler):
    """One repository, as huggingface_hub asks for it; `drops` breaks off amid the weights."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        name = self.path.rpartition("/")[2].partition("?")[0]
        file = MODEL / name
        if "/tree/" in self.path:
            self.list_files()
            return
        if "/resolve/" not in self.path or not file.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        data = file.read_bytes()
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{name}-{len(data)}"')
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if not body:
            return
        drops = self.server.drops and name == WEIGHTS
        self.wfile.write(data[start:100_000] if drops else data[start:])
        self.wfile.flush()
        self.server.asked += name == WEIGHTS
        self.close_connection = drops

    def list_files(self) -> None:
        files = [
            {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": file.name}
            for file in sorted(MODEL.iterdir())
        ]
        data = json.dumps([*files, {**files[0], "path": "pytorch_model.bin"}]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub():
    with served(Hub) as server:
        yield server


def load(hub, cache) -> subprocess.CompletedProcess:
    return child(LOAD % COMMIT, cache=cache, port=hub.server_port)


def test_weights_that_stop_coming_are_one_line_and_nothing_half_is_loaded(hub, tmp_path):
    hub.drops = True
    broken = load(hub, tmp_path)
    errors = [line for line in broken.stderr.splitlines() if line.startswith("error:")]
    assert broken.returncode == 2 and len(errors) == 1, broken.stderr
    assert "model.checkpoint 'owner/tiny'" in errors[0] and "the Hub" in errors[0]
    assert "run the same command again" in errors[0]
    assert "Traceback" not in broken.stderr and "loaded" not in broken.stdout
    hub.drops, asked = False, hub.asked
    whole = load(hub, tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.startswith("loaded") and hub.asked > asked


# ---- which repository ----


LOOK_UP = """
    import sys
    from yoyak.models.checkpoints import fetch, resolve_checkpoint
    from yoyak.config.model_config import ModelSettings
    from yoyak.errors import UserError
    for name in sys.argv[1:]:
        model = ModelSettings(checkpoint=name, revision="v9")
        try:
            print(fetch(resolve_checkpoint(model), model, weights=False).name)
        except UserError as error:
            print(error)
"""


def look_up(*names, cache, port: int = 0) -> list[str]:
    done = child(LOOK_UP, *names, cache=cache, port=port)
    lines = done.stdout.splitlines()
    assert len(lines) == len(names), done.stderr
    return lines


def test_offline_without_the_cache(tmp_path):
    for line in look_up("nobody/nothing", cache=tmp_path):
        one_line(line, "'nobody/nothing': the Hub cannot be reached", "local folder")


class Refusals(BaseHTTPRequestHandler):
    """Answers as the Hub does for repositories that cannot be had."""

    ANSWERS = {
        "gated": (403, "GatedRepo", "it is gated: accept its licence"),
        "private": (401, "RepoNotFound", "no such repository, or it is private"),
        "typo": (404, "RepoNotFound", "no such repository, or it is private"),
        "moved": (404, "RevisionNotFound", "it has no revision 'v9'"),
    }

    def do_GET(self):
        name = self.path.split("/")[4]  # /api/models/owner/name/revision/v9
        code, reason, _ = self.ANSWERS[name]
        self.send_response(code)
        self.send_header("X-Error-Code", reason)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


def test_the_hubs_refusals_in_words(tmp_path):
    names = [f"owner/{name}" for name in Refusals.ANSWERS]
    with served(Refusals) as server:
        lines = look_up(*names, cache=tmp_path, port=server.server_port)
    for line, (name, (_, _, words)) in zip(lines, Refusals.ANSWERS.items(), strict=True):
        one_line(line, f"'owner/{name}': {words}")


def test_no_network_and_a_hub_that_hangs(tmp_path):
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        port = hanging.getsockname()[1]
        for listening in (False, True):  # refused, then accepted and never answered
            if listening:
                hanging.listen()
            (line,) = look_up("owner/name", cache=tmp_path, port=port)
            one_line(line, "'owner/name': the Hub cannot be reached")


def test_the_cache_serves_when_the_hub_is_away(tmp_path):
    cached = tmp_path / "hub" / "models--owner--name"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "v9").write_text("c0ffee")
    (cached / "snapshots" / "c0ffee").mkdir(parents=True)
    (cached / "snapshots" / "c0ffee" / "config.json").write_text("{}")
    lines = look_up("owner/name", cache=tmp_path)
    assert lines == [str(cached / "snapshots" / "c0ffee")]


def test_a_full_disk_is_no_fault_of_the_checkpoint(monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    monkeypatch.setattr(checkpoints, "_hub_answers", lambda *asked: True)
    model = model_section("owner/name")
    with pytest.raises(OSError) as caught:
        checkpoints.fetch(resolve_checkpoint(model), model)
    assert "free some space" in disk_fault(caught.value)


def test_an_unknown_error_is_quoted_in_one_line():
    said = hub_error(model_section("a/b"), ValueError("odd {braces}\nand lines"))
    one_line(said, "cannot be loaded (ValueError: odd {braces} and lines)")


def test_a_hub_id_without_a_revision_is_warned_about_once(caplog):
    checkpoints._warn_unpinned.cache_clear()
    with caplog.at_level(logging.WARNING):
        found = [resolve_checkpoint(model_section("nobody/nothing")) for _ in range(3)]
        resolve_checkpoint(model_section("nobody/pinned", revision="abc123"))
    assert found[0].name == "nobody/nothing" and not found[0].local
    assert found[0].weight_files() == [] and found[0].commit() is None
    assert len(caplog.records) == 1 and "pin a commit" in caplog.text
