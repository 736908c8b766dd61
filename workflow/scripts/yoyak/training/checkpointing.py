"""Checkpoints that are whole or absent: written aside, hashed, synced, renamed."""

import json
import logging
import os
import shutil
from pathlib import Path

from yoyak.run.workspace import hash_file, sync_directory, sync_tree

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
ASIDE = "aside-"


def seal(aside: Path, target: Path, facts: dict) -> None:
    """Make a finished folder a checkpoint.

    Args:
        aside: folder with all of the checkpoint's files, on the same file system.
        target: where it goes; an older folder of that name is replaced.
        facts: what a resume has to know (plan, seconds so far), kept in the manifest.
    """
    files = sorted(path for path in aside.rglob("*") if path.is_file())
    hashes = {str(path.relative_to(aside)): hash_file(path) for path in files}
    manifest = json.dumps({"files": hashes, **facts}, indent=1, sort_keys=True)
    (aside / MANIFEST).write_text(manifest, encoding="utf-8")
    sync_tree(aside)
    if target.exists():
        shutil.rmtree(target)
    os.replace(aside, target)
    sync_directory(target.parent)


def read_facts(checkpoint: Path) -> dict:
    """What `seal` was told, without the hashes."""
    content = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
    content.pop("files")
    return content


def newest_whole_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the highest step whose every file still has its hash.

    A partial, cut or altered one is named in the log and removed; then the one before it is used.
    """
    for leftover in folder.glob(f"{ASIDE}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True):
        fault = _fault(checkpoint)
        if fault is None:
            return checkpoint
        log.warning("%s is not whole (%s): using the one before it", checkpoint.name, fault)
        shutil.rmtree(checkpoint)
    return None


def remove_old(folder: Path, keep: set[str]) -> None:
    """Bound the disk that a training uses: remove every checkpoint that is not in `keep`."""
    for checkpoint in folder.glob("checkpoint-*"):
        if checkpoint.name not in keep:
            shutil.rmtree(checkpoint, ignore_errors=True)


def step_of(checkpoint: Path) -> int:
    number = checkpoint.name.rsplit("-", 1)[-1]
    return int(number) if number.isdigit() else -1


def _fault(checkpoint: Path) -> str | None:
    try:
        hashes = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))["files"]
        for name, expected in hashes.items():
            if hash_file(checkpoint / name) != expected:
                return f"{name} was altered"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return None
