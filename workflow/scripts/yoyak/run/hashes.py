"""SHA-256 of large files, remembered from one process to the next."""

import contextlib
import json
import os
from pathlib import Path

from yoyak.run.workspace import atomic_write_json, hash_file

SMALL = 1_000_000  # bytes; reading these costs nothing


def remembered_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal.

    A large file is read once: its hash is kept in the user's cache folder (YOYAK_CACHE,
    XDG_CACHE_HOME or ~/.cache) under path, size, time of change and inode.
    """
    path = Path(path).absolute()
    status = path.stat()
    if status.st_size < SMALL:
        return hash_file(path)
    key = f"{path} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
    memory = cache_folder() / "sha256.json"
    known: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError, TypeError):  # missing or damaged: computed anew
        known = dict(json.loads(memory.read_text(encoding="utf-8")))
    if key not in known:
        known[key] = hash_file(path)
        with contextlib.suppress(OSError):  # a home that cannot be written costs only time
            memory.parent.mkdir(parents=True, exist_ok=True)
            atomic_write_json(memory, known)
    return known[key]


def cache_folder() -> Path:
    """The user's cache folder; it may be deleted at any time."""
    named = os.environ.get("YOYAK_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(home) / "yoyak"
