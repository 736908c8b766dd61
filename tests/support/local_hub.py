"""Small servers on this machine that answer as the Hugging Face Hub does."""

import contextlib
import json
import os
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from yoyak.errors import PROJECT_ROOT

COMMIT = "da7a" * 10


@contextlib.contextmanager
def served(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.drops, server.asked = False, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def asking(cache, port: int = 0) -> dict[str, str]:
    """An environment whose Hub is at this port of this machine, or away without one."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    kept |= {"HF_HOME": str(cache)}
    if not port:
        return kept | {"HF_HUB_OFFLINE": "1"}
    kept |= {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HUB_DISABLE_XET": "1"}
    return kept | {"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}


def child(code: str, *arguments: str, cache, port: int = 0) -> subprocess.CompletedProcess:
    """Run code that asks the Hub at this port of this machine, or is offline without one."""
    library = {"PYTHONPATH": str(PROJECT_ROOT / "workflow" / "scripts")}
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    environment = asking(cache, port) | library
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


class DatasetHub(BaseHTTPRequestHandler):
    """The datasets below server.folder, all at one commit."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        parts = path.removeprefix("/api").strip("/").split("/")
        repository = "/".join(parts[1:3])
        root = self.server.folder / repository
        if path.startswith("/api/datasets/") and root.is_dir():
            self.describe(root, repository, parts[3:])
        elif path.startswith("/datasets/") and root.is_dir():
            file = root.joinpath(*parts[5:])  # …/resolve/COMMIT/NAME
            self.send(file.read_bytes(), file.name, body) if file.is_file() else self.refuse()
        else:
            self.refuse("RepoNotFound")

    def describe(self, root, repository, asked) -> None:
        """A repository's facts, or with `tree/COMMIT/FOLDER` what lies directly in the folder."""
        if asked and asked[1] not in ("main", "v1", COMMIT):
            return self.refuse("RevisionNotFound")
        if asked[:1] != ["tree"]:
            content: object = {"id": repository, "sha": COMMIT, "siblings": [], "tags": []}
        elif not (folder := root.joinpath(*asked[2:])).is_dir():
            return self.refuse()
        else:
            content = [
                {
                    "type": "directory" if entry.is_dir() else "file",
                    "path": entry.relative_to(root).as_posix(),
                    "size": entry.stat().st_size,
                    "oid": "0" * 40,
                }
                for entry in sorted(folder.iterdir())
            ]
        self.send(json.dumps(content).encode(), "json", True)

    def send(self, data: bytes, tag: str, body: bool) -> None:
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{tag}-{len(data)}"')
        self.send_header("Content-Type", "application/json" if tag == "json" else "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def refuse(self, code: str = "EntryNotFound") -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass
