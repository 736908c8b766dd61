"""One study killed again and again, restarted as the README says, looked at after every kill."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import victims
from moments import Moment
from outputs import Reference, kept_aside
from victims import Job
from workflow_project import Project

LIMIT = 600  # seconds for anything that ends by itself
HUNG = 60  # seconds after which a Snakemake without a job, told to end, is taken to hang
TRIES = 4  # restarts that an orphan may keep out
# How much later than the trigger the kill may come, in seconds.
JITTER = {"checkpoint": 0.04, "writing": 0.03, "written": 0.15, "resumable": 0.4}
MOST_CHECKPOINTS = 5  # two, the best of each, and one being written


@dataclass
class Tally:
    """What happened; `faults` must stay empty."""

    kills: list[dict] = field(default_factory=list)
    orphans: int = 0
    refused: int = 0  # restarts that an orphan kept out, in one clear line
    hung: int = 0  # Snakemakes that had to be killed outright
    resumed: int = 0  # kills whose checkpoint was gone on from
    # Ended unseen beside the killed job: Snakemake takes it back, a restart makes or restores it.
    made_again: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        return self.lost + self.partial + self.failures + self.leftovers


class StudyUnderFire:
    """A project in which nothing has run yet, and the kills that one run of its study gets."""

    def __init__(self, project: Project, reference: Reference, tally: Tally, name: str):
        self.project, self.reference, self.tally, self.name = project, reference, tally, name
        self.folder = project.folder.resolve()
        self.log = self.folder / "snakemake.log"
        self.process: subprocess.Popen | None = None  # the Snakemake at work
        self.complete: set[str] = set()  # outputs that no restart may take away again
        self.progress: dict[str, int] = {}  # steps of each unfinished training, once quiet

    def run(self, moments: list[Moment], on_kill=lambda record: None) -> None:
        """Kill at each moment that comes, let the study end, and compare."""
        try:
            for moment in moments:
                if self._still_to_come(moment) and self._wait_for(moment):
                    on_kill(self._kill_at(moment))
            self._finish()
        finally:
            victims.end_all(self.folder)

    def clear_away(self) -> None:
        """Make the project one in which nothing has run."""
        for part in ("results", "logs", ".snakemake"):
            shutil.rmtree(self.folder / part, ignore_errors=True)
        self.process, self.complete, self.progress = None, set(), {}

    # ---- one kill ----

    def _still_to_come(self, moment: Moment) -> bool:
        """Whether this run of the study will start a job of the rule, or has one at work."""
        made = self.reference.of_rule(moment.rule)
        if moment.rule == "snakemake" or not all(self.project.path(path).exists() for path in made):
            return True
        return any(job.rule == moment.rule for job in victims.jobs(self.folder))

    def _wait_for(self, moment: Moment) -> bool:
        """Start, if need be, and return at the moment; False when the study is past it."""
        for _ in range(TRIES):
            process = self.process = self.process or self._start()
            self.job, self.started = None, time.monotonic()
            if moment.rule == "snakemake":
                _sleep(moment.share * 3, lambda process=process: process.poll() is None)
            while process.poll() is None:
                self.job = self._job_of(moment.rule)
                if self.job is not None:
                    self._wait_in(self.job, moment)
                if self.job is not None or moment.rule == "snakemake":
                    break
                if not self._still_to_come(moment):
                    return False  # it runs on, and the next moment finds it
                time.sleep(0.01)
            if process.poll() is None:
                return True
            self.process = None
            if process.returncode == 0 or not self._may_start_again():
                return False
        return False

    def _job_of(self, rule: str) -> Job | None:
        return next((job for job in victims.jobs(self.folder) if job.rule == rule), None)

    def _kill_at(self, moment: Moment) -> dict:
        """Kill now, look, wait until it is quiet, and look again."""
        process, self.process, job = self.process, None, self.job
        phase, victim = self._phase(moment, job), moment.victim
        if victim == "job" and not job.alive():
            victim = "snakemake"
        if victim == "job":
            victims.send(job.pid, moment.signal)
        elif victim == "snakemake":
            victims.send(process.pid, moment.signal)
        else:
            os.killpg(process.pid, moment.signal)
        record = {
            "study": self.name, "rule": moment.rule, "phase": phase, "victim": victim,
            "signal": moment.signal.name, "seconds": round(time.monotonic() - self.started, 2),
        }  # fmt: skip
        self.tally.kills.append(record)
        self._look(record)
        self._wait_for_its_end(process)
        self._settle(moment)
        self._look(record)
        self._note_progress()
        return record

    def _wait_for_its_end(self, process: subprocess.Popen) -> None:
        """Snakemake's handler of signals can wait for ever on a lock that its own thread holds."""
        quiet_since = time.monotonic()
        while process.poll() is None:
            if victims.jobs(self.folder):
                quiet_since = time.monotonic()
            if time.monotonic() > quiet_since + HUNG:
                self.tally.hung += 1
                process.kill()
                process.wait(LIMIT)
            time.sleep(0.05)

    def _wait_in(self, job: Job, moment: Moment) -> None:
        if moment.trigger == "time":
            _sleep(moment.share * 1.05 * self.reference.seconds[job.rule], job.alive)
            return
        condition = {
            "writing": lambda: self._temporary_folders(job),
            "written": lambda: any(self.project.path(path).exists() for path in self._made_by(job)),
            "checkpoint": lambda: list(self._work(job).glob("*/staging-*")),
            "resumable": lambda: self._steps(self._work(job)) > 0,
        }[moment.trigger]
        while job.alive() and not condition():
            time.sleep(0.002)
        time.sleep(moment.share * JITTER[moment.trigger])

    def _phase(self, moment: Moment, job: Job | None) -> str:
        if job is None:
            return "starting" if not victims.jobs(self.folder) else "beside a job"
        if not job.alive():
            return "after the job"
        if self._temporary_folders(job):
            return "writing"
        if any(self.project.path(path).exists() for path in self._made_by(job)):
            return "written"
        work = self._work(job)
        if list(work.glob("*/staging-*")):
            return "checkpoint"
        if self._steps(work):
            return "resumable"
        return "working" if moment.share > 0.5 or moment.trigger != "time" else "starting"

    # ---- what lies in the folders ----

    def _made_by(self, job: Job) -> list[str]:
        return [path for path in self.reference.of_rule(job.rule) if path.startswith(job.output)]

    def _temporary_folders(self, job: Job) -> list[Path]:
        """Hidden files and folders in which the job writes what it will move into place."""
        found = []
        for parent in {self.project.path(path).parent for path in self._made_by(job)}:
            for place in (parent, parent.parent):
                found += place.glob(f".*.{job.pid}.*")
        return found

    def _work(self, job: Job) -> Path:
        return self.project.path(job.output) / ".work"

    @staticmethod
    def _steps(work: Path) -> int:
        """Newest checkpoint's step of a training."""
        steps = (int(path.name.rpartition("-")[2]) for path in work.glob("*/checkpoint-*"))
        return max(steps, default=0)

    def _incomplete(self) -> set[str]:
        """Outputs that Snakemake itself holds for unfinished."""
        marks = (self.folder / ".snakemake" / "incomplete").rglob("*")
        return {base64.urlsafe_b64decode(m.name).decode() for m in marks if m.is_file()}

    # ---- after a kill ----

    def _look(self, record: dict) -> None:
        """Nothing that exists may be partial; no training that was complete may be gone."""
        at_work = {path for job in victims.jobs(self.folder) for path in self._made_by(job)}
        unfinished = self._incomplete() | at_work  # asked first: Snakemake may be tidying up
        present = self.reference.present(self.project)
        when = "{study} {rule} {phase} {victim} {signal}".format(**record)
        for fault in self.reference.faults(self.project, present):
            self.tally.partial.append(f"{when}: {fault}")
        for path in sorted(self.complete - present):
            trained = self.reference.rules[path] == "train"
            lost = trained and not kept_aside(self.project.path(path))
            gone = self.tally.lost if lost else self.tally.made_again
            gone.append(f"{when}: {path} was complete and is gone")
        self.complete = present - unfinished
        for work in self.project.results.glob("runs/*/*/*/*/*/.work"):
            if len(list(work.glob("*/checkpoint-*"))) > MOST_CHECKPOINTS:
                self.tally.leftovers.append(f"{when}: {work} keeps too many checkpoints")

    def _settle(self, moment: Moment) -> None:
        """What Snakemake left running goes on beside the restart, or is killed."""
        left = victims.jobs(self.folder)
        self.tally.orphans += len(left)
        if not moment.wait_for_orphans:
            victims.end_all(self.folder)

    def _note_progress(self) -> None:
        busy = {self._work(job) for job in victims.jobs(self.folder)}
        for path, work in self._trainings():
            amount = self._steps(work)
            if work in busy:
                self.progress.pop(path, None)
            elif amount and path not in self.complete:
                self.progress[path] = amount

    def _trainings(self) -> Iterator[tuple[str, Path]]:
        """run.json and work folder of each training."""
        for path in self.reference.of_rule("train"):
            folder, is_record, _ = path.rpartition("/run.json")
            work = self.project.path(folder) / ".work"
            if is_record:
                yield path, work

    # ---- starting and ending ----

    def _start(self) -> subprocess.Popen:
        """The documented command, after `snakemake --unlock` where the folder is locked."""
        locks = self.folder / ".snakemake" / "locks"
        if locks.is_dir() and any(locks.iterdir()):
            self.project.run("--unlock")
        with open(self.log, "w") as log:
            return self.project.start(stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    def _may_start_again(self) -> bool:
        """After a restart that failed by itself: whether it said to wait for another process."""
        said = self.log.read_text(errors="replace")
        if "is still working on this task" in said:
            self.tally.refused += 1
            _sleep(LIMIT, lambda: bool(victims.jobs(self.folder)))
            return True
        self.tally.failures.append(f"{self.name}: a restart failed by itself:\n{said[-4000:]}")
        return False

    def _finish(self) -> None:
        """Run to the end and compare everything."""
        for _ in range(TRIES):
            process, self.process = self.process or self._start(), None
            if process.wait(LIMIT) == 0:
                break
            if not self._may_start_again():
                return
        present = self.reference.present(self.project)
        missing = sorted(set(self.reference.rules) - present)
        self.tally.lost += [f"{self.name}: {path} is missing at the end" for path in missing]
        self.tally.partial += self.reference.faults(self.project, present)
        if planned := self.project.planned():
            self.tally.failures.append(f"{self.name}: a finished study still plans {planned}")
        self._check_progress()
        hidden = [
            path for path in self.project.results.rglob(".*") if ".snakemake" not in path.name
        ]
        self.tally.leftovers += [f"{self.name}: {path} is left over at the end" for path in hidden]

    def _check_progress(self) -> None:
        """The process that finished a training must have gone on from what the last kill left."""
        for path, _ in self._trainings():
            before = self.progress.get(path, 0)
            since = json.loads(self.project.path(path).read_text())["resumed_from_step"]
            self.tally.resumed += since >= before > 0
            if since < before:
                self.tally.lost.append(f"{self.name}: {path} began at {since}, {before} were saved")


def _sleep(seconds: float, while_true) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and while_true():
        time.sleep(0.01)
