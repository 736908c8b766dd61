"""Where results are written: aside first, then moved into place; nothing is ever half there."""

import contextlib
import ctypes
import errno
import fcntl
import functools
import glob
import hashlib
import json
import os
import platform
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from yoyak.errors import UserError

KEEP_OTHER_FINGERPRINTS = 1
PATIENCE = 100  # attempts at a folder that others replace at the same time
OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of linux/fcntl.h and linux/fs.h


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; when the block ends well it replaces `path` whole.

    An exception leaves `path` as it was. Old and new change places at one stroke, so that a reader
    finds one of them; on file systems that cannot do so the old one is moved away first, and a
    process killed in between leaves no folder, never a part of one. Leftovers go at the next call.
    """
    path = Path(path)
    aside = _aside(path.parent, path.name)
    old = aside.with_name(f"{aside.name}.old")
    aside.mkdir(mode=0o755)
    try:
        yield aside
        sync_tree(aside)
        _put_in_place(aside, path, old)
        sync_directory(path.parent)
    finally:
        _remove(aside)
        _remove(old)


@contextlib.contextmanager
def atomic_files(directory: Path) -> Iterator[Path]:
    """Yield an empty folder; when the block ends well its files move one by one into `directory`.

    For a rule that owns some files of a folder and not the folder.
    """
    directory = Path(directory)
    aside = _aside(directory, "aside")
    aside.mkdir(mode=0o755)
    try:
        yield aside
        sync_tree(aside)
        for file in sorted(aside.iterdir()):
            os.replace(file, directory / file.name)
        sync_directory(directory)
    finally:
        _remove(aside)


def atomic_write_text(path: Path, text: str) -> None:
    """Write UTF-8 text so that a reader sees the old file or the new one, never a part."""
    path = Path(path)
    aside = _aside(path.parent, path.name)
    try:
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


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
    disk that abandoned settings use. `discard` removes it once the output was read.

    Raises UserError when another process holds the task.
    """
    all_tasks = Path(results) / ".work"
    task_folder = all_tasks / task
    task_folder.mkdir(parents=True, exist_ok=True)
    for folder in (all_tasks, task_folder):  # whoever could write here could plant a checkpoint
        _close_to_others(folder)
    descriptor = os.open(task_folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    with open(descriptor, "r+", encoding="utf-8") as lock:
        _lock(lock, task_folder)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        folder = task_folder / fingerprint
        _remove_abandoned(task_folder, keep=folder)
        folder.mkdir(exist_ok=True, mode=0o755)
        yield folder


def task_of(step: str, output: Path) -> str:
    """Name of the task that makes `output`, as a work folder has it."""
    return f"{step}-" + Path(output).as_posix().strip("/").replace("/", "-")


def discard(results: Path, task: str) -> None:
    """Remove what a finished task left, unless a process is at work on it again.

    For the step that reads the task's output: that it was started shows that the output is known to
    be complete. Before, a workflow engine that is killed in the wrong second (or whose job ended
    as an orphan) takes the output away and asks again; the task then ends at once from what lies
    there.
    """
    task_folder = Path(results) / ".work" / task
    file = task_folder / "lock"
    if not file.is_file():
        return
    with open(file, "r+", encoding="utf-8") as lock, contextlib.suppress(UserError):
        _lock(lock, task_folder)
        for folder in task_folder.iterdir():
            if folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)


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


def _put_in_place(aside: Path, path: Path, old: Path) -> None:
    """Let the folder `aside` be `path`; what was there before is then at `aside` or `old`.

    Another process may do the same at the same time: the last one wins.
    """
    for _ in range(PATIENCE):
        if _exchange(aside, path):
            return
        try:
            os.rename(aside, path)  # nothing there, or an empty folder
            return
        except OSError as error:
            if error.errno not in OCCUPIED:
                raise
        _remove(old)
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, old)
    raise UserError(f"{path}: other processes keep writing it; end them and run this again")


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names at one stroke; False if one is missing, or the system cannot (Linux can)."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    here = AT_FDCWD
    return renameat2(here, os.fsencode(one), here, os.fsencode(other), RENAME_EXCHANGE) == 0


def _aside(parent: Path, name: str) -> Path:
    """A free hidden name in `parent` (made if need be) that says which process it belongs to.

    What killed processes of this host left there under the same name is removed.
    """
    parent.mkdir(parents=True, exist_ok=True)
    stem = f".{name}.{platform.node()}."
    for leftover in parent.glob(f"{glob.escape(stem)}*"):
        owner = leftover.name.removeprefix(stem).partition(".")[0]
        if owner.isdigit() and not Path("/proc", owner).exists() and Path("/proc/self").exists():
            _remove(leftover)
    return parent / f"{stem}{os.getpid()}.{secrets.token_hex(4)}"


def _remove(path: Path) -> None:
    """Remove a file, link or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _close_to_others(folder: Path) -> None:
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o022:
        with contextlib.suppress(PermissionError):  # another user's folder: theirs to close
            folder.chmod(mode & ~0o022)


def _lock(lock: IO[str], task_folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = lock.read().strip()
        stop = f" or stop it (kill {holder})" if holder else ""
        raise UserError(
            f"{task_folder}: process {holder or '(just started)'} is still working on this task; "
            f"wait for it{stop}, then run the same command again"
        ) from None
    except OSError as error:
        raise UserError(
            f"{task_folder}: this file system cannot lock files ({error.strerror}); "
            "put the results on one that can"
        ) from None


def _remove_abandoned(task_folder: Path, keep: Path) -> None:
    others = [path for path in task_folder.iterdir() if path.is_dir() and path != keep]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[KEEP_OTHER_FINGERPRINTS:]:
        shutil.rmtree(path, ignore_errors=True)
