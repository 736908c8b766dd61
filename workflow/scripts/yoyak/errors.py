"""User errors and machine faults as one-line messages, with their exit codes."""

import codecs
import errno
import gc
import locale
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[3]
AGAIN = 75  # EX_TEMPFAIL of sysexits.h: the same command, run again, resumes
FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)
# Of torch's allocators on the GPU and the CPU, of cuBLAS and of CUDA itself.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "STATUS_ALLOC_FAILED")
DEVICE = ("CUDA error", "CUDA driver error", "CUDNN_STATUS", "CUBLAS_STATUS", "NCCL error")


class UserError(Exception):
    """A mistake in a config, in data or in a model. The message is one line that names the cure.

    It stays one line whatever it quotes: names, cells and other programs' messages may contain
    anything.
    """

    def __init__(self, text: object) -> None:
        super().__init__(one_line(text))


def one_line(text: object) -> str:
    """Text without line breaks and without characters that could steer a terminal."""
    words = " ".join(str(text).split())
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in words)


def told_by(error: BaseException | None) -> str:
    """What an error and its causes say, in lower case: their classes' names and the text.

    Libraries wrap each other's errors.
    """
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    kinds = {kind.__name__ for part in chain for kind in type(part).__mro__}
    return " ".join([*kinds, one_line(chain[0]) if chain else ""]).lower()


def display(path: Path | str) -> str:
    """A path as one would type it from the project's root."""
    path = Path(path)
    return str(path.relative_to(PROJECT_ROOT) if path.is_relative_to(PROJECT_ROOT) else path)


def run_script(main: Callable[[], None]) -> None:
    """Run `main` and turn a `UserError` into one line on stderr and exit code 2.

    A full or read-only disk and running out of memory are reported likewise; a failing GPU exits
    with 75, Ctrl-C with 130. Anything else is a bug of Yoyak and keeps its traceback.

    Garbage is not looked for: imports make half a million objects that stay, and going through them
    again and again is a fifth of their time. Long work calls `imports_are_done`.
    """
    gc.disable()
    use_utf8_output()
    _restart_in_utf8()
    silence_imports()
    if "OMP_NUM_THREADS" in os.environ:  # of the job; the tokenizers library counts its own
        os.environ.setdefault("RAYON_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
    try:
        main()
    except UserError as error:
        _leave(str(error), 2)
    except KeyboardInterrupt:
        _leave("interrupted; the same command resumes from what was saved", 130)
    except Exception as error:
        fault = machine_fault(error)
        if fault is None:
            raise
        _leave(*fault)


def imports_are_done() -> None:
    """Look for garbage from here on, but never among what is there already."""
    gc.freeze()
    gc.enable()


def silence_imports() -> None:
    """Silence irrelevant log messages of libraries, from their import on."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # It asks for a package with a product in 4 bits that no step uses on a CPU.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def use_utf8_output() -> None:
    """Write UTF-8 here and in child processes whatever the locale, since summaries are Korean."""
    os.environ.pop("PYTHONIOENCODING", None)
    os.environ["PYTHONUTF8"] = "1"
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _restart_in_utf8() -> None:
    """Restart this script in UTF-8 mode if files or file names use another encoding.

    Libraries open files, too, and the encoding of file names is fixed when Python starts.
    """
    encodings = {sys.getfilesystemencoding(), locale.getpreferredencoding(False)}
    ours = sys.orig_argv[-len(sys.argv) :] == sys.argv  # not a test's Python, or a notebook's
    if ours and any(codecs.lookup(name).name != "utf-8" for name in encodings):
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _leave(text: str, code: int) -> None:
    print(f"error: {one_line(text)}", file=sys.stderr, flush=True)
    sys.exit(code)


def machine_fault(error: BaseException) -> tuple[str, int] | None:
    """(one line that says what to do, exit code) for a machine fault; None for anything else."""
    if is_out_of_memory(error):
        return "out of memory; free some, or use a smaller model or batch, and try again", 2
    said = device_fault(error)
    if said is not None:
        return said, AGAIN
    said = disk_fault(error)
    return None if said is None else (said, 2)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device or the process ran out of memory; torch reports that in many ways."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in OUT_OF_MEMORY)


def device_fault(error: BaseException) -> str | None:
    """What to do about a GPU that failed or disappeared; this process cannot use it again."""
    text = str(error)
    if not isinstance(error, RuntimeError) or not any(part in text for part in DEVICE):
        return None
    return (
        f"the GPU failed ({text.strip().splitlines()[0]}); check nvidia-smi, then run the same "
        "command again: it resumes from what was saved"
    )


def disk_fault(error: BaseException) -> str | None:
    """What to do about a full or read-only disk; safetensors and torch hide errno in text."""
    number, text = getattr(error, "errno", None), str(error)
    named = getattr(error, "filename", None)
    file = f"{named}: " if named else ""
    if number in FULL or "No space left on device" in text:
        return f"{file}the disk is full; free some space and run the same command again"
    if isinstance(error, OSError) and number in FORBIDDEN:
        return f"{file}{error.strerror}; make it writable and run the same command again"
    return None
