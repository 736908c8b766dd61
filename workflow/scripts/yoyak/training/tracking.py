"""Whether the trackers of `tracking.report_to` can work: said in one line before anything loads."""

import contextlib
import fcntl
import importlib
import netrc
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

from yoyak.errors import UserError, one_line

# Each tracker's module, which the training imports.
MODULES = {
    "wandb": "wandb",
    "tensorboard": "tensorboard.summary.writer.event_file_writer",
    "mlflow": "mlflow",
    "trackio": "trackio",
}
# Environment variables. Those in seconds bound how long a server that has gone holds a training up.
DEFAULTS = {
    "wandb": {"WANDB_FINISH_TIMEOUT": "120"},
    "tensorboard": {"TENSORBOARD_LOGGING_DIR": "tracking/tensorboard"},
    "mlflow": {
        "MLFLOW_TRACKING_URI": "tracking/mlflow",  # a folder, which mlflow-skinny can write
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    },
}
KEYLESS_MODES = ("offline", "dryrun", "disabled")
WAIT = 10  # seconds for any answer of a server


def check_keys(names: Iterable[str]) -> None:
    """Refuse trackers that are not installed or lack a key; quick, and asks no server.

    Sets the environment variables of `DEFAULTS` that the user has not set.
    """
    for name in names:
        for variable, value in DEFAULTS.get(name, {}).items():
            os.environ[variable] = os.environ.get(variable) or value  # before trackers read them
        found = find_spec(name)
        if found is None or found.origin is None:  # None: a folder of its runs with that name
            raise _unfit(name, "is not installed", "see envs/tracking.txt")
        if name == "wandb":
            _wandb_settings()
        elif name == "trackio":
            _check_token()


def check_trackers(names: Iterable[str]) -> None:
    """Refuse a training that one of these trackers cannot record, in one line (UserError)."""
    for name in names:
        check_keys([name])
        module = _imported(name)
        if name == "wandb":
            _check_wandb(module)
        elif name == "mlflow":
            _check_mlflow(module)
        elif name == "tensorboard":
            _check_folder(os.environ["TENSORBOARD_LOGGING_DIR"])


def _unfit(name: str, fault: str, cure: str) -> UserError:
    said = one_line(fault)[:300]
    return UserError(f"tracking.report_to: {name} {said}; {cure}, or take {name} out of the list")


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(MODULES[name])
    except Exception as error:  # a package that does not fit may raise anything
        said = f"cannot be imported ({type(error).__name__}: {error})"
        raise _unfit(name, said, "install it as envs/tracking.txt has it") from None


def _wandb_settings():
    """wandb's settings, with a key where they need one."""
    wandb = _imported("wandb")
    try:
        settings = wandb.setup().settings
        mode, url = settings.mode, settings.base_url
    except Exception as error:  # pydantic's and wandb's own
        raise _unfit("wandb", f"refuses its settings ({error})", "correct them") from None
    keys = (settings.api_key, getattr(settings, "identity_token_file", None))
    if mode not in KEYLESS_MODES and not (any(keys) or _in_netrc(url)):
        cure = "`wandb login`, set WANDB_API_KEY or WANDB_MODE=offline"
        raise _unfit("wandb", f"has no key for {url}", cure)
    return settings


def _check_wandb(wandb) -> None:
    settings = _wandb_settings()
    url = settings.base_url
    if settings.mode in KEYLESS_MODES:
        return
    fault = _within(WAIT, lambda: _connection_fault(url, settings))
    if fault:
        cure = "connect or set WANDB_MODE=offline"
        raise _unfit("wandb", f"gets no answer from {url} ({fault})", cure)
    fault = _within(3 * WAIT, lambda: _raised(lambda: wandb.login(verify=True)))
    if fault:
        cure = "`wandb login --relogin`"
        raise _unfit("wandb", f"has a key that {url} does not take ({fault})", cure)


@contextlib.contextmanager
def alone_in_store(mlflow) -> Iterator[None]:
    """Around what may begin an MLflow store in a folder, or an experiment in one.

    MLflow locks nothing there: of trainings that start side by side, one would find a store half
    made, or each would make an experiment of the same name.
    """
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    uri = mlflow.get_tracking_uri()
    if not is_local_uri(uri):
        yield
        return
    folder = Path(local_file_uri_to_path(uri))
    # Beside the folder, since MLflow begins a store only where there is none.
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f".{folder.name}.lock"), "wb") as lock:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _check_mlflow(mlflow) -> None:
    def ask() -> None:
        with alone_in_store(mlflow):
            mlflow.search_experiments(max_results=1)

    fault = _within(3 * WAIT, lambda: _raised(ask))
    if fault:
        where = f"cannot use {mlflow.get_tracking_uri()} ({fault})"
        raise _unfit("mlflow", where, "correct MLFLOW_TRACKING_URI")


def _check_token() -> None:
    """Trackio's, where it does not write to a folder of this machine."""
    from huggingface_hub import get_token

    server = os.environ.get("TRACKIO_SERVER_URL", "")
    if os.environ.get("TRACKIO_SPACE_ID"):
        if not get_token():
            raise _unfit("trackio", "has no token for TRACKIO_SPACE_ID", "`hf auth login`")
    elif server and not (os.environ.get("TRACKIO_WRITE_TOKEN") or "write_token=" in server):
        cure = "set TRACKIO_WRITE_TOKEN"
        raise _unfit("trackio", "has no token for TRACKIO_SERVER_URL", cure)


def _check_folder(folder: str) -> None:
    if "://" in folder:  # of a cloud
        return
    try:
        Path(folder).expanduser().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fault = f"cannot write to {folder} ({error.strerror})"
        raise _unfit("tensorboard", fault, "set TENSORBOARD_LOGGING_DIR") from None


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
    """Why no server answers at this address; empty if one does, whatever it answers."""
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


def _raised(work: Callable[[], object]) -> str:
    """What this raises, in words; empty if nothing."""
    try:
        work()
    except Exception as error:  # of the tracker's own, of its settings, of the network
        return str(error) or type(error).__name__
    return ""


def _within(seconds: float, work: Callable[[], str]) -> str:
    """The result of `work`, within a time-out: looking up a host name has none of its own."""
    answer = [f"no answer within {seconds} s"]
    thread = threading.Thread(target=lambda: answer.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[-1]
