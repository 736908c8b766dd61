"""Checkpoints, complete or absent: written to a staging folder, hashed, synced, renamed."""

import json
import logging
import os
import shutil
from pathlib import Path

from yoyak.config.section import canonical
from yoyak.run.workspace import hash_file, hash_text, sync_directory, sync_tree

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
STATE = "trainer_state.json"
KEEP_NEWEST = 2  # should the newest turn out damaged, the one before it is used
STAGING = "staging-"


def seal(staging: Path, target: Path, facts: dict) -> None:
    """Make a finished folder a checkpoint.

    Args:
        staging: folder with all of the checkpoint's files, on the same file system.
        target: where it goes; an older folder of that name is replaced.
        facts: what a resumed run needs (plan, seconds so far), kept in the manifest.
    """
    files = sorted(path for path in staging.rglob("*") if path.is_file())
    hashes = {str(path.relative_to(staging)): hash_file(path) for path in files}
    manifest = {"files": hashes, **facts}
    manifest["sha256"] = hash_text(canonical(manifest))  # the manifest's own
    (staging / MANIFEST).write_text(
        json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8"
    )
    sync_tree(staging)
    if target.exists():
        shutil.rmtree(target)
    os.replace(staging, target)
    sync_directory(target.parent)


def read_facts(checkpoint: Path) -> dict:
    """The `facts` that `seal` was given, without the hashes."""
    content = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
    return {key: value for key, value in content.items() if key not in ("files", "sha256")}


def newest_checkpoint(folder: Path) -> Path | None:
    """The latest complete checkpoint whose best checkpoint is complete, too; None without one.

    Complete: every file still has its hash. A partial, truncated or altered checkpoint is logged
    and removed; then the one before it is used. The best checkpoint counts because the training
    ends by loading it.
    """
    for leftover in folder.glob(f"{STAGING}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for checkpoint in sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True):
        fault = _fault(checkpoint)
        if fault is None:
            best = _best_of(checkpoint)
            if best is None or best == checkpoint or (fault := _fault(best)) is None:
                return checkpoint
            fault = f"its best one, {best.name}, is not: {fault}"
        log.warning(
            "%s is incomplete or damaged (%s): using the one before it", checkpoint.name, fault
        )
        shutil.rmtree(checkpoint, ignore_errors=True)
    return None


def remove_old(folder: Path, newest: int = KEEP_NEWEST) -> None:
    """Bound the disk space of a training: keep the newest checkpoints and the best one of each."""
    checkpoints = sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True)
    keep = set()
    for checkpoint in checkpoints[:newest]:
        keep.add(checkpoint.name)
        best = _best_of(checkpoint)
        if best is not None:
            keep.add(best.name)
    for checkpoint in checkpoints:
        if checkpoint.name not in keep:
            shutil.rmtree(checkpoint, ignore_errors=True)


def step_of(checkpoint: Path) -> int:
    number = checkpoint.name.rsplit("-", 1)[-1]
    return int(number) if number.isdigit() else -1


def _best_of(checkpoint: Path) -> Path | None:
    """The checkpoint with the lowest selection loss up to this one; None before an evaluation."""
    try:
        state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
        step = state["best_global_step"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return checkpoint.with_name(f"checkpoint-{step}") if step else None


def _fault(checkpoint: Path) -> str | None:
    try:
        manifest = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
        if manifest.pop("sha256") != hash_text(canonical(manifest)):
            return f"{MANIFEST} was altered"
        for name, expected in manifest["files"].items():
            if hash_file(checkpoint / name) != expected:
                return f"{name} was altered"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return None
