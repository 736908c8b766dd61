"""Weights & Biases: checked before anything loads; a later failure never ends the training."""

import contextlib
import functools
import logging
import netrc
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from yoyak.errors import UserError, one_line

log = logging.getLogger(__name__)
KEYLESS_MODES = ("offline", "dryrun", "disabled")
WAIT = 10  # seconds for any answer of the server
UPLOAD = "120"  # seconds for the rest at the end; wandb itself would wait for hours
OR_ELSE = "or set WANDB_MODE=offline, or tracking.wandb: false"


def check_wandb(project: str, run: str) -> None:
    """Refuse a training that wandb cannot record; otherwise set its project and run names.

    WANDB_PROJECT, WANDB_NAME and WANDB_FINISH_TIMEOUT are kept if the user has set them.

    Raises:
        UserError: not installed, refuses its settings, no key, or no answer from its server.
    """
    ours = {"WANDB_PROJECT": project, "WANDB_NAME": run, "WANDB_FINISH_TIMEOUT": UPLOAD}
    for name, value in ours.items():
        os.environ[name] = os.environ.get(name) or value  # before wandb reads them
    wandb = _installed_wandb()
    try:
        settings = wandb.setup().settings
        mode, url = settings.mode, settings.base_url
    except Exception as error:  # pydantic's and wandb's own
        raise UserError(
            f"tracking.wandb: wandb refuses its settings ({one_line(error)[:200]}); correct them, "
            f"{OR_ELSE}"
        ) from None
    if mode in KEYLESS_MODES:
        return
    if not (settings.api_key or getattr(settings, "identity_token_file", None) or _in_netrc(url)):
        raise UserError(
            f"tracking.wandb: no key for {url}; `wandb login`, set WANDB_API_KEY, {OR_ELSE}"
        )
    fault = _within(WAIT, lambda: _connection_fault(url, settings))
    if fault:
        raise UserError(
            f"tracking.wandb: no answer from {url} ({one_line(fault)[:200]}); connect, {OR_ELSE}"
        )
    fault = _within(3 * WAIT, lambda: _login_fault(wandb))
    if fault:
        raise UserError(
            f"tracking.wandb: {url} does not take the key ({one_line(fault)[:200]}); "
            f"`wandb login --relogin`, {OR_ELSE}"
        )


def wandb_tracker() -> "NonFatalCallback":
    """transformers' own callback for wandb; UserError where wandb is not installed."""
    from transformers.integrations import WandbCallback

    _installed_wandb()
    return NonFatalCallback(WandbCallback())


def _installed_wandb():
    with contextlib.suppress(ImportError):
        import wandb

        if hasattr(wandb, "init"):  # else a folder of that name, such as its runs leave
            return wandb
    raise UserError(
        "tracking.wandb: the package is not installed; `pip install wandb`, or set "
        "tracking.wandb: false"
    )


def _in_netrc(url: str) -> bool:
    """Whether `wandb login` has stored a key for this server."""
    host = urlsplit(url).netloc
    # One service behind two names; older versions of wandb wrote the key under this one.
    hosts = (host, "api.wandb.ai") if host.endswith(".coreweave.com") else (host,)
    named = os.environ.get("NETRC")
    files = [Path(named)] if named else [Path("~/.netrc"), Path("~/_netrc")]
    for file in map(Path.expanduser, files):
        try:
            known = netrc.netrc(file)
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
            continue
        return any((known.authenticators(host) or ("", "", ""))[2] for host in hosts)
    return False


def _connection_fault(url: str, settings) -> str:
    """Why no server answers at this address; None if one does, whatever it answers."""
    proxies = urllib.request.getproxies()
    for scheme in ("http", "https"):
        proxy = getattr(settings, f"{scheme}_proxy", None)
        proxies |= {scheme: proxy} if proxy else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    try:
        opener.open(urllib.request.Request(url, method="HEAD"), timeout=WAIT / 2).close()
    except urllib.error.HTTPError:
        return ""
    except OSError as error:
        reason = getattr(error, "reason", error)
        return "" if "SSL" in type(reason).__name__ else str(reason)  # certificates are wandb's
    return ""


def _login_fault(wandb) -> str:
    try:
        wandb.login(verify=True)
    except Exception as error:  # of wandb's own, of its settings, of the network
        return str(error)
    return ""


def _within(seconds: float, work: Callable[[], str]) -> str:
    """The result of `work`, within a time-out: looking up a host name has none of its own."""
    answer = [f"no answer within {seconds} s"]
    thread = threading.Thread(target=lambda: answer.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[-1]


class NonFatalCallback:
    """A tracker's callback that may fail: reported once, and the training continues without it."""

    def __init__(self, tracker: object) -> None:
        self._tracker = tracker

    def __getattr__(self, name: str):
        if not name.startswith("on_"):
            raise AttributeError(name)
        return functools.partial(self._call, name)

    def _call(self, event: str, *args, **kwargs):
        if self._tracker is None:
            return None
        try:
            return getattr(self._tracker, event)(*args, **kwargs)
        except Exception as error:  # a tracker may raise anything
            self._tracker = None
            said = one_line(f"{type(error).__name__}: {error}").rstrip(": ")[:300]
            log.warning("tracking.wandb fails (%s); the training continues without it", said)
            return None
