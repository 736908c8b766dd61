"""Identify a checkpoint's weights by content, not by file times or paths."""

from yoyak.config.model_config import ModelSettings
from yoyak.errors import UserError
from yoyak.models.checkpoints import resolve_checkpoint
from yoyak.run.hashes import remembered_hash
from yoyak.run.workspace import hash_text

UNPINNED = "unpinned"


def weights_identity(model: ModelSettings, *, tokenizer_only: bool = False) -> str:
    """Equal only for equal weights: Snakemake reruns by it, not by file times.

    Of a local checkpoint the SHA-256 of the files that are read (`tokenizer_only`: of all but the
    weights); of one on the Hub its pinned revision, or the word "unpinned".
    """
    try:
        found = resolve_checkpoint(model)
    except UserError:
        return "missing"  # the script says in full what is wrong
    if not found.local:
        return model.revision or UNPINNED
    files = found.weight_files()
    if tokenizer_only:
        files = [file for file in files if file.suffix != ".safetensors"]
    return hash_text(" ".join(f"{file.name} {remembered_hash(file)}" for file in files))
