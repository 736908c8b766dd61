"""Snakemake's terminal output during a study: plan, one line per job, progress, causes of failure.

Everything else is in .snakemake/log and logs/. Nothing of Snakemake is imported here: the handler
uses only the fields of Snakemake's log records.
"""

import logging
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoyak.errors import one_line
from yoyak.run.logs import read_progress

SECONDS = 10  # seconds between two reads of running jobs' logs
SHARE, LONGEST = 0.05, 300  # a job's lines come apart: this share of its time so far, seconds
TAIL = 16_384  # bytes at a log's end that are read
HIDDEN = ("workflow_started", "job_started", "job_finished", "resources_info", "progress")
CHATTER = (
    "Assuming unrestricted shared filesystem",
    "Building DAG of jobs",
    "Complete log(s):",
    "Conda environments: ignored",
    "Config file ",
    "Exiting because a job execution failed",
    "Removing output files of failed job",
    "Select jobs to execute",
    "Shutting down, this might take",
    "Trying to restart job",
    "Using shell:",
)
STOPPING = {
    "Terminating processes on user request": "stopping: running jobs save what they have",
    "Will exit after finishing currently running": "stopping when the running jobs are done",
}
ENDED, FAILED = "Elapsed time:", "At least one job did not complete successfully"
CLOCK = re.compile(r"\d\d:\d\d:\d\d ")
NO_RULE = re.compile(r"No rule to produce (.+?) \(if you use")
STATUS = re.compile(r"CalledProcessError.*(?:exit status (\d+)|died with <Signals\.(\w+))", re.S)


@dataclass
class Job:
    name: str
    log: Path | None
    attempt: int = 1
    started: float = field(default_factory=time.monotonic)
    spoke: float = field(default_factory=time.monotonic)
    said: str = ""

    def progress(self) -> str:
        """A line of progress; empty if there is nothing new or the last line is recent."""
        now = time.monotonic()
        if now - self.spoke < min(LONGEST, SHARE * (now - self.started)):
            return ""
        found = next(filter(None, map(read_progress, reversed(tail(self.log)))), "")
        if found in ("", self.said):
            return ""
        self.said, self.spoke = found, now
        return f"{self.name}: {found}"


class Terminal(logging.Handler):
    """Wraps Snakemake's stream handler, and passes on records that it does not rewrite.

    Attributes:
        closing: lines that end a run with failures, below their causes.
        idle: called when Snakemake has nothing to do.
        known: what the study has, for a target that no rule makes.
    """

    lock: Any  # of logging.Handler

    def __init__(self, usual: Any) -> None:  # of Snakemake, which adds to logging's classes
        super().__init__(usual.level)
        self.usual = usual
        self.closing: list[str] = []
        self.idle: Callable[[], None] = lambda: None
        self.known = ""
        self._total = 0
        self._jobs: dict[int, Job] = {}
        self._running: dict[int, Job] = {}
        self._causes: dict[object, tuple[str, str]] = {}  # (job's name, why), if no retry helped
        self._status: dict[int, int | str] = {}  # by thread: how its shell command ended
        self._stopped = self._heard = self._well = False
        self._over = threading.Event()

    def handle(self, record: Any) -> bool:
        """Hide what `--quiet` hides, but keep failures for the end."""
        with self.lock:
            try:
                words = self._words(record)
            except Exception:  # a record of another kind than ours: nothing here may end a run
                words = None
            if not self.usual.filter(record):
                return False
            self._heard |= record.levelno >= logging.ERROR
            if words is None:
                self.usual.emit(record)
                if str(record.msg).startswith("Nothing to be done"):
                    self.idle()
            elif words:
                self._write(words, record.levelno)
        return True

    def close(self) -> None:
        """Print the final lines: Snakemake closes its handlers after its own last message."""
        with self.lock:
            if not self._over.is_set():
                self._over.set()
                if self._heard and not self._well:
                    self._say_why()
                self.usual.close()
        super().close()

    def _words(self, record: Any) -> str | None:
        """The text for a record: empty to hide it, None for Snakemake's own text."""
        event, text = getattr(record, "event", None), str(record.msg)
        if event == "job_info":
            return self._start(record)
        if event == "job_error":
            return self._fail(record)
        if event == "shellcmd":
            return None if record.shellcmd else ""
        wrong = NO_RULE.search(text)
        if wrong:
            return f"error: {wrong[1]}: no rule makes it; {self.known}"
        if event == "error" and self._total:
            return self._keep(record, text)
        if event == "run_info":
            self._total = record.stats["total"] - record.stats.get("all", 0)
        elif event == "job_finished":
            self._running.pop(record.job_id, None)
        elif event is None and text.startswith(tuple(STOPPING)):
            again, self._stopped = self._stopped, True
            return "" if again else next(STOPPING[part] for part in STOPPING if part in text)
        elif event is None and text.startswith(ENDED):
            self._well = True  # unless it failed: that is said after this
            return ""
        hidden = event in HIDDEN or event is None and text.startswith(CHATTER)
        return "" if hidden else None

    def _start(self, record: Any) -> str:
        if not record.rule_msg:  # `all`, which does nothing
            return ""
        if not self._jobs:
            threading.Thread(target=self._follow, daemon=True).start()
        number, job = record.jobid, Job(record.rule_msg, first_file(record))
        if number in self._jobs:
            job.attempt = self._jobs[number].attempt + 1
        self._jobs[number] = self._running[number] = job
        self._causes.pop(number, None)
        place = list(self._jobs).index(number) + 1
        again = f" (attempt {job.attempt})" if job.attempt > 1 else ""
        return f"{now()} {place:>{len(str(self._total))}}/{self._total}  {job.name}{again}"

    def _fail(self, record: Any) -> str:
        self._running.pop(record.jobid, None)
        job = self._jobs.get(record.jobid) or Job(record.rule_name, first_file(record))
        why = cause(job.log, self._status.pop(record.thread, None), record.rule_msg)
        if self._stopped or why.startswith("interrupted"):
            return ""
        self._causes[record.jobid] = (job.name, why)
        return f"{now()} failed: {job.name}; see {', '.join(record.log) or '.snakemake/log'}"

    def _keep(self, record: Any, text: str) -> str:
        """Keep an error for the end, unless its job's own error says more."""
        ended = STATUS.search(text)
        if ended:
            self._status[record.thread] = ended[2] or int(ended[1])
        elif FAILED in text:
            self._well = False
        else:
            self._causes[text] = ("", text)
        return ""

    def _say_why(self) -> None:
        several = len({why for _, why in self._causes.values()}) > 1
        lines = {
            why if not name else f"error: {name}: {why}" if several else f"error: {why}": None
            for name, why in self._causes.values()
        }
        for line in lines:
            self._write(line, logging.ERROR)
        if self._stopped:
            self._write("interrupted; the same command resumes it")
            # Snakemake cannot close an event loop that Ctrl-C broke off, and says so at length.
            logging.getLogger("snakemake.logging").addHandler(logging.NullHandler())
        else:
            for line in self.closing:
                self._write(line)

    def _follow(self) -> None:
        """Show the progress of running jobs, read from their logs."""
        record = logging.makeLogRecord({"levelno": logging.INFO, "event": "progress"})
        while not self._over.wait(SECONDS):
            with self.lock:
                for job in list(self._running.values()):
                    line = job.progress()
                    if line and self.usual.filter(record):
                        self._write(f"{now()} {line}")

    def _write(self, text: str, level: int = logging.INFO) -> None:
        record = logging.makeLogRecord({"levelno": level, "levelname": logging.getLevelName(level)})
        self.usual.stream.write(self.usual.decorate(record, text) + "\n")
        self.usual.flush()


def cause(log: Path | None, status: int | str | None, message: str | None) -> str:
    """Why a job failed: its script's error line, else its exit status and the end of its log."""
    lines = tail(log)
    errors = [line for line in lines if line.startswith("error: ")]
    if errors:
        return errors[-1].removeprefix("error: ")
    if isinstance(status, int) and status - 128 in set(signal.Signals):
        status = signal.Signals(status - 128).name
    if isinstance(status, str):
        return f"ended by {status} from outside (out of memory, perhaps); the same command resumes"
    last = CLOCK.sub("", lines[-1], count=1) if lines else ""
    return "; ".join(filter(None, (one_line(message or ""), last))) or f"exit code {status}"


def tail(log: Path | None) -> list[str]:
    """The last non-empty lines of a log; empty without a log."""
    if log is None:
        return []
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [one_line(line) for line in text.splitlines() if line.strip()]


def first_file(record: Any) -> Path | None:
    """A rule's own log; a cluster's logs may follow it."""
    return Path(record.log[0]) if record.log else None


def now() -> str:
    return time.strftime("%H:%M:%S")
