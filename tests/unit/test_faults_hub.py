"""A Hub that breaks off amid the weights: one line, and then it goes on."""

import json
import os
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from yoyak.errors import PROJECT_ROOT

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
        self.wfile.write(data[start : start + 100_000] if drops else data[start:])
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
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    server.drops, server.asked = False, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def load(hub, cache) -> subprocess.CompletedProcess:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LOAD) % COMMIT],
        env={
            **kept,
            "PYTHONPATH": str(PROJECT_ROOT / "workflow" / "scripts"),
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
            "HF_HOME": str(cache),
            "HF_HUB_ETAG_TIMEOUT": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            "HF_HUB_DISABLE_XET": "1",
        },
        capture_output=True,
        text=True,
        timeout=240,
    )


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
