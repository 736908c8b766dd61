"""Tracking: what cannot work is said before anything loads; what fails later ends itself alone."""

import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import ModuleType, SimpleNamespace

import pytest

from yoyak.errors import UserError
from yoyak.training import tracking

NAMES = ("WANDB_PROJECT", "WANDB_NAME", "WANDB_FINISH_TIMEOUT")


class NothingHere(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_error(404)

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
def wandb(monkeypatch, tmp_path):
    """Puts a wandb with these settings in the place of the real one."""
    monkeypatch.setattr(tracking, "WAIT", 1)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in NAMES:
        monkeypatch.setenv(name, "")

    def put(login=lambda verify: True, **settings):
        made = {"mode": "online", "base_url": "http://127.0.0.1:1", "api_key": "k" * 40}
        module = ModuleType("wandb")
        module.init, module.login = None, login
        module.setup = lambda: SimpleNamespace(settings=SimpleNamespace(**{**made, **settings}))
        monkeypatch.setitem(__import__("sys").modules, "wandb", module)
        return module

    return put


def refuse(verify):
    raise ValueError("user is not\nlogged in")


@pytest.mark.parametrize(
    ("server", "settings", "message"),
    [
        (
            "answering",
            {"api_key": None},
            r"no key for http://127.*`wandb login`, set WANDB_API_KEY",
        ),
        (
            "closed",
            {},
            r"no answer from http://127.*Connection refused\); connect, or set WANDB_MODE",
        ),
        ("silent", {}, "no answer from http://127.*timed out"),
        ("answering", {"login": refuse}, r"http.*does not take the key \(user is not logged in\)"),
    ],
)
def test_what_cannot_be_tracked_is_refused_in_one_line(wandb, urls, server, settings, message):
    wandb(base_url=urls[server], **settings)
    with pytest.raises(UserError, match=f"tracking.wandb: {message}.*or tracking.wandb: false"):
        tracking.check_wandb("study", "run")


def test_a_wandb_that_is_none_or_misled_is_refused(wandb):
    wandb().setup = lambda: SimpleNamespace()["mode"]
    with pytest.raises(UserError, match="wandb refuses its settings .*; correct them"):
        tracking.check_wandb("study", "run")
    del wandb().init  # a folder called wandb, such as its runs leave
    with pytest.raises(UserError, match="the package is not installed; `pip install wandb`"):
        tracking.check_wandb("study", "run")


@pytest.mark.parametrize(
    ("server", "settings", "netrc"),
    [
        ("closed", {"mode": "offline", "api_key": None, "login": refuse}, ""),
        ("closed", {"mode": "disabled", "api_key": None}, ""),
        ("answering", {}, ""),
        ("answering", {"api_key": None}, "machine {host} login user password {key}\n"),
    ],
)
def test_what_can_be_tracked_gets_its_project_and_run(
    wandb, urls, tmp_path, server, settings, netrc
):
    wandb(base_url=urls[server], **settings)
    host = urls[server].removeprefix("http://")
    (tmp_path / "netrc").write_text(netrc.format(host=host, key="k" * 40), encoding="utf-8")
    tracking.check_wandb("korean_dialogsum", "tiny_llama-chat-fine_tuned-seed42")
    assert os.environ["WANDB_PROJECT"] == "korean_dialogsum"
    assert os.environ["WANDB_NAME"] == "tiny_llama-chat-fine_tuned-seed42"


def test_a_project_of_the_users_stays(wandb, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    wandb(mode="offline")
    tracking.check_wandb("study", "run")
    assert os.environ["WANDB_PROJECT"] == "mine"
