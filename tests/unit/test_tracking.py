"""Trackers that cannot work are refused in one line before anything loads."""

import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.machinery import ModuleSpec

import pytest
import wandb

from yoyak.errors import UserError
from yoyak.training import tracking

NAMES = ["wandb", "tensorboard", "mlflow", "trackio"]


class NothingHere(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_error(404)

    def do_POST(self):
        self.send_error(401)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def urls():
    """Of a server that answers, of one that only listens, and of none."""
    answering = HTTPServer(("127.0.0.1", 0), NothingHere)
    threading.Thread(target=answering.serve_forever, daemon=True).start()
    silent, closed = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    ports = (answering.server_port, *(each.getsockname()[1] for each in (silent, closed)))
    closed.close()
    names = ("answering", "silent", "closed")
    yield {name: f"http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)}
    answering.shutdown()
    silent.close()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory in which no tracker has a setting or a key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tracking, "WAIT", 1)
    variables = [name for each in tracking.DEFAULTS.values() for name in each]
    for name in variables:  # a test sets them; this takes them back
        monkeypatch.setenv(name, "")
    for name in ("WANDB_MODE", "WANDB_API_KEY", "TRACKIO_SERVER_URL", "TRACKIO_SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    wandb.teardown()  # it keeps the settings that it has once read
    yield tmp_path
    wandb.teardown()


def refused(name: str) -> str:
    with pytest.raises(UserError, match=f"^tracking.report_to: {name} ") as said:
        tracking.check_trackers([name])
    assert str(said.value).endswith(f"or take {name} out of the list")
    return str(said.value)


@pytest.mark.parametrize(
    ("server", "key", "message"),
    [
        ("answering", None, "has no key for http://127.0.0.1"),
        ("closed", "k" * 40, "Connection refused"),
        ("silent", "k" * 40, "gets no answer from http://127.0.0.1"),
        ("answering", "k" * 40, "does not take"),
        ("answering", "short", "API key must have 40+ characters"),
    ],
)
def test_wandb_without_a_server_or_a_key(place, monkeypatch, urls, server, key, message):
    monkeypatch.setenv("WANDB_BASE_URL", urls[server])
    if key is not None:
        monkeypatch.setenv("WANDB_API_KEY", key)
    assert message in refused("wandb")


def test_wandb_refuses_its_settings(place, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    assert "refuses its settings" in refused("wandb")


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_wandb_needs_no_key_where_it_sends_nothing(place, monkeypatch, mode):
    monkeypatch.setenv("WANDB_MODE", mode)
    tracking.check_trackers(["wandb"])


def test_a_key_in_netrc_is_one(place, monkeypatch, urls):
    monkeypatch.setenv("WANDB_BASE_URL", urls["answering"])
    monkeypatch.setattr(wandb, "login", lambda verify: True)
    host = urls["answering"].removeprefix("http://")
    (place / "netrc").write_text(f"machine {host} login user password {'k' * 40}\n")
    tracking.check_trackers(["wandb"])


def test_mlflow_without_a_server(place, monkeypatch, urls):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", urls["closed"])
    assert f"cannot use {urls['closed']}" in refused("mlflow")


def test_what_cannot_be_written(place):
    (place / "tracking").write_text("a file")
    assert "cannot write to tracking/tensorboard" in refused("tensorboard")
    assert "cannot use" in refused("mlflow")


def test_trackio_without_a_token(place, monkeypatch):
    monkeypatch.setenv("TRACKIO_SERVER_URL", "http://127.0.0.1:1")
    assert "set TRACKIO_WRITE_TOKEN" in refused("trackio")


@pytest.mark.parametrize("name", NAMES)
def test_a_package_that_is_missing_or_broken(place, monkeypatch, name):
    for found in (None, ModuleSpec(name, None)):  # nothing, and a folder of its runs
        with monkeypatch.context() as without:
            without.setattr(tracking, "find_spec", lambda name, found=found: found)
            assert "is not installed; see envs/tracking.txt" in refused(name)
    (place / name).mkdir()
    (place / name / "__init__.py").write_text("import what_it_lacks")
    with monkeypatch.context() as broken:
        broken.syspath_prepend(place)
        for module in [module for module in sys.modules if module.partition(".")[0] == name]:
            broken.delitem(sys.modules, module)
        assert "No module named 'what_it_lacks'" in refused(name)
