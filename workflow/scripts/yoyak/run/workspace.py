"""Write results atomically: to a temporary place first, then renamed; never partial."""

import contextlib
import errno
import fcntl
import functools
import glob
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil

from yoyak.errors import UserError, display

KEEP_OTHER_FINGERPRINTS = 1
PATIENCE = 100  # attempts, if others replace the folder at the same time


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield an empty folder that replaces `path` when the block succeeds.

    An exception leaves `path` unchanged. A killed process leaves the old folder (or, for a moment
    at the end, none), never a partial one; its temporary files are removed by the next call.
    """
    path = Path(path)
    with _temporary_folder(path) as temporary:
        new = temporary / "new"
        new.mkdir(mode=0o755)
        yield new
        sync_tree(new)
        for attempt in range(PATIENCE):  # another process may do the same: the last one wins
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, temporary / f"old{attempt}")
            try:
                os.rename(new, path)
                break
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
        else:
            raise UserError(f"{path}: other processes keep writing it; end them and run this again")
        sync_directory(path.parent)


def atomic_write_text(path: Path, text: str) -> None:
    """Write UTF-8 text so that a reader sees the old file or the new one, never a part."""
    path = Path(path)
    with _temporary_folder(path) as temporary:
        handle = os.open(temporary / "new", os.O_WRONLY | os.O_CREAT, 0o644)
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary / "new", path)


def atomic_write_json(path: Path, content: object) -> None:
    atomic_write_text(
        path, json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    )


def read_json(path: Path, cure: str) -> dict:
    """A JSON object that another step wrote; UserError with the `cure` if it is not there."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"{display(path)}: no such file; {cure}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{display(path)}: not JSON ({str(error)[:200]}); {cure}") from None
    if not isinstance(content, dict):
        raise UserError(f"{display(path)}: must hold a JSON object; {cure}")
    return content


@contextlib.contextmanager
def work_folder(output: Path, fingerprint: str) -> Iterator[Path]:
    """The locked folder with the checkpoints of an unfinished training.

    It lies at {output}/.work/{fingerprint}/ and is not declared to Snakemake, which would delete it
    after a failed job. The lock is the kernel's: however the holder dies, it is
    released. Folders of other fingerprints are removed but for the newest, which bounds the disk
    that abandoned settings use.

    Raises UserError when another process holds it.
    """
    place = Path(output) / ".work"
    folder = place / fingerprint
    Path(output).mkdir(parents=True, exist_ok=True)
    place.mkdir(exist_ok=True, mode=0o755)  # whoever could write here could plant a checkpoint
    handle = os.open(place / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    with open(handle, "r+", encoding="utf-8") as lock:
        _lock(lock, place)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        others = [path for path in place.iterdir() if path.is_dir() and path != folder]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in others[KEEP_OTHER_FINGERPRINTS:]:
            shutil.rmtree(path, ignore_errors=True)
        folder.mkdir(exist_ok=True, mode=0o755)
        yield folder


def publish(finished: Path, output: Path) -> None:
    """Publish everything in `finished` to the folder `output`, each entry atomically.

    Files are hard-linked if possible, so that they take no space twice: if Snakemake is killed at
    the wrong moment, deletes the output and asks again, it is available at once.
    """
    for part in sorted(finished.iterdir()):
        target = output / part.name
        if part.is_dir():
            with atomic_directory(target) as folder:
                shutil.copytree(part, folder, copy_function=_link, dirs_exist_ok=True)
        else:
            with _temporary_folder(target) as temporary:
                _link(part, temporary / "new")
                os.replace(temporary / "new", target)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copyfile(source, target)
    os.utime(target)  # newer than its inputs, even if these were made again


def discard(output: Path) -> None:
    """Remove the work folder of a finished training, unless a process is using it."""
    place = Path(output) / ".work"
    if not (place / "lock").is_file():
        return
    with open(place / "lock", "r+", encoding="utf-8") as lock, contextlib.suppress(UserError):
        _lock(lock, place)
        shutil.rmtree(place, ignore_errors=True)


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
    for path in (*folder.rglob("*"), folder):
        sync_directory(path)


def sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _temporary_folder(path: Path) -> Iterator[Path]:
    """A hidden temporary folder beside `path`, named after its process.

    Leftovers of killed processes of this host are removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    stem = f".{path.name}.{platform.node()}."
    for leftover in path.parent.glob(f"{glob.escape(stem)}*"):
        owner = leftover.name.removeprefix(stem).partition(".")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=f"{stem}{os.getpid()}.", dir=path.parent, ignore_cleanup_errors=True
    ) as temporary:
        yield Path(temporary)


def _lock(lock: IO[str], place: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = lock.read().strip()
        stop = f" or stop it (kill {holder})" if holder else ""
        raise UserError(
            f"{place}: process {holder or '(just started)'} is still working on this task; "
            f"wait for it{stop}, then run the same command again"
        ) from None
    except OSError as error:
        raise UserError(
            f"{place}: this file system cannot lock files ({error.strerror}); "
            "put the results on one that can"
        ) from None
