"""Log files of long-running scripts."""

import logging
import re
import time
from datetime import datetime
from pathlib import Path

log = logging.getLogger(__name__)
PROGRESS = re.compile(r"((?:step|row) \d+/\d+) .*?(\S+ (?:tokens|rows)/s).* left (\d[\d:]*)")


def start_log(step: str, name: str) -> Path:
    """Log to stderr and to logs/YYYYMMDD/{step}/{name}_{YYYYMMDD}_{HHMMSS}.log, a new file."""
    while True:
        now = datetime.now()
        folder = Path("logs") / f"{now:%Y%m%d}" / step
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}_{now:%Y%m%d_%H%M%S}.log"
        try:
            file.touch(exist_ok=False)
            break
        except FileExistsError:  # of another start in this second
            time.sleep(0.1)
    write_log(file)
    log.info("log: %s", file)
    return file


def write_log(file: Path | None, level: int = logging.INFO) -> None:
    """Log to stderr and, where there is one, a file."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if file is not None:
        handlers.append(logging.FileHandler(file, encoding="utf-8"))
    logging.basicConfig(
        level=level, handlers=handlers, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )


def read_progress(line: str) -> str | None:
    """A job's progress in short form if this line of its log has it, else None."""
    found = PROGRESS.search(line)
    return f"{found[1]} · {found[2]} · {found[3]} left" if found else None


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
