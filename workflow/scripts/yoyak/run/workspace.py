"""Where results are written: aside first, then moved into place; nothing is ever half there."""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from yoyak.settings.config import UserError

KEEP_OTHER_FINGERPRINTS = 1


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; when the block ends well it replaces `path` whole.

    An exception leaves `path` as it was. A process killed between removing the old folder and
    moving the new one leaves no folder, never a part of one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        aside.chmod(0o755)
        yield aside
        sync_tree(aside)
        if path.exists():
            shutil.rmtree(path)
        os.replace(aside, path)
        sync_directory(path.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def atomic_files(directory: Path) -> Iterator[Path]:
    """Yield an empty folder; when the block ends well its files move one by one into `directory`.

    For a rule that owns some files of a folder and not the folder.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".aside.", dir=directory))
    try:
        yield aside
        sync_tree(aside)
        for file in sorted(aside.iterdir()):
            os.replace(file, directory / file.name)
        sync_directory(directory)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def atomic_write_text(path: Path, text: str) -> None:
    """Write UTF-8 text so that a reader sees the old file or the new one, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def atomic_write_json(path: Path, content: object) -> None:
    atomic_write_text(
        path, json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    )


@contextlib.contextmanager
def work_folder(results: Path, task: str, fingerprint: str) -> Iterator[Path]:
    """The locked folder in which an unfinished task keeps what a rerun resumes from.

    It lies at {results}/.work/{task}/{fingerprint}/, undeclared to any workflow engine, so that
    a failed job's clean-up leaves it alone. The lock is the kernel's: however the holder dies, it
    is released. Folders of other fingerprints are removed but for the newest, which bounds the
    disk that abandoned settings use. Remove the folder yourself once the output is in place.

    Raises UserError when another process holds the task.
    """
    task_folder = Path(results) / ".work" / task
    task_folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    with open(task_folder / "lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise UserError(
                f"{task_folder}: process {holder} is still working on this task; wait for it or "
                f"stop it (kill {holder}), then run the same command again"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        folder = task_folder / fingerprint
        _remove_abandoned(task_folder, keep=folder)
        folder.mkdir(exist_ok=True, mode=0o755)
        yield folder


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal; a large checkpoint is read once a process."""
    status = os.stat(path)
    return _hash_of(Path(path).absolute(), status.st_size, status.st_mtime_ns)


@functools.cache
def _hash_of(path: Path, size: int, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sync_tree(folder: Path) -> None:
    """Flush every file and directory below `folder` to the disk."""
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_directory(path)
        else:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
    sync_directory(folder)


def sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_abandoned(task_folder: Path, keep: Path) -> None:
    others = [path for path in task_folder.iterdir() if path.is_dir() and path != keep]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[KEEP_OTHER_FINGERPRINTS:]:
        shutil.rmtree(path, ignore_errors=True)
