"""The trackers' runs of one training: begun with it, resumed with it, and never its end.

What happens in a training is handed to transformers' own callbacks. The work folder keeps the ids
of the runs, so that a training that resumes goes on with them.
"""

import contextlib
import functools
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from yoyak.config.model_config import ModelConfig
from yoyak.config.study import Run
from yoyak.errors import one_line
from yoyak.run.workspace import atomic_write_json
from yoyak.training.tracking import alone_in_store, check_keys

log = logging.getLogger(__name__)
IDS = "tracking.json"  # in the work folder
ASYNC_LOG = logging.getLogger("mlflow.utils.async_logging.async_logging_queue")
CHANGED = "Changing param"  # what it says where a training resumes on another device, say
OURS = "yoyak"  # our own id of a training, beside those that trackers give


@dataclass(frozen=True)
class Described:
    """What trackers are told of a training.

    settings: the effective config, section by section, and the run. ids: by tracker, and `OURS`.
    step: from which it resumes; 0: a fresh one.
    """

    project: str
    name: str
    tags: list[str]
    settings: dict[str, dict]
    ids: dict[str, str]
    step: int = 0

    @property
    def unique_name(self) -> str:
        """A name that only this training has, however often it resumes."""
        return f"{self.name}-{self.ids[OURS]}"

    def flat(self) -> dict[str, object]:
        """The settings by dotted keys."""
        return {
            f"{name}.{key}": value
            for name, section in self.settings.items()
            if section is not None  # prompts, of a model that has none of its own
            for key, value in section.items()
        }


class WandbRun:
    """Like those below: transformers' `callback` for a run of the training, and the run's end."""

    def __init__(self, training: Described) -> None:
        import wandb
        from transformers.integrations import WandbCallback

        self.run = None
        if wandb.run is None:  # else a program's own
            self.run = wandb.init(
                project=os.environ.get("WANDB_PROJECT") or training.project,
                name=os.environ.get("WANDB_NAME") or training.name,
                id=training.ids[OURS],
                resume="allow",
                tags=training.tags or None,
                config=training.settings,
            )
        self.callback = WandbCallback()

    def finish(self, failed: bool) -> None:
        if self.run is not None:
            self.run.finish(exit_code=int(failed))


class TensorBoardRun:
    """Event files in a folder of this training alone; what resumes adds a file there."""

    def __init__(self, training: Described) -> None:
        from torch.utils.tensorboard import SummaryWriter
        from transformers.integrations import TensorBoardCallback

        root = os.path.expanduser(os.environ["TENSORBOARD_LOGGING_DIR"])
        folder = "/".join([root, training.project, training.name, training.ids[OURS]])
        # Steps after the checkpoint come again: what was written of them before is hidden.
        self.writer = SummaryWriter(folder, purge_step=training.step + 1)
        settings = json.dumps(training.settings, indent=1, ensure_ascii=False, default=str)
        self.writer.add_text("settings", f"```\n{settings}\n```", training.step)
        self.writer.add_text("tags", ", ".join(training.tags), training.step)
        self.callback = TensorBoardCallback(self.writer)

    def finish(self, failed: bool) -> None:
        self.writer.close()


class MlflowRun:
    """A run under an id of MLflow's own, which the work folder keeps."""

    def __init__(self, training: Described) -> None:
        import mlflow
        from transformers.integrations import MLflowCallback

        self.mlflow, self.ours = mlflow, mlflow.active_run() is None  # else a program's own
        if self.ours:
            with alone_in_store(mlflow):
                name = os.environ.get("MLFLOW_EXPERIMENT_NAME")
                mlflow.set_experiment(name or training.project)
            self._start(training)
        faults: list[str] = []

        def note(record: logging.LogRecord) -> bool:
            if record.levelno >= logging.ERROR and CHANGED not in record.getMessage():
                faults.append(record.getMessage())
            return False

        class Callback(MLflowCallback):
            """It logs from a thread, whose faults are otherwise a line for every step."""

            def on_log(self, *args, **kwargs):
                if faults:
                    raise OSError(faults[0])
                super().on_log(*args, **kwargs)

        ASYNC_LOG.addFilter(note)
        self.note, self.callback = note, Callback()

    def _start(self, training: Described) -> None:
        known = training.ids.get("mlflow")
        if known:
            with contextlib.suppress(self.mlflow.exceptions.MlflowException):  # it was deleted
                self.mlflow.start_run(known, run_name=training.name)
                return
        tags = dict.fromkeys(training.tags, "true")
        run = self.mlflow.start_run(run_name=training.name, tags=tags)
        training.ids["mlflow"] = run.info.run_id
        self.mlflow.log_params(training.flat())

    def finish(self, failed: bool) -> None:
        try:
            if self.ours:
                self.mlflow.flush_async_logging()
                self.mlflow.end_run("FAILED" if failed else "FINISHED")
        finally:
            ASYNC_LOG.removeFilter(self.note)


class TrackioRun:
    """A run that Trackio finds again by its name."""

    def __init__(self, training: Described) -> None:
        import trackio
        from transformers.integrations import TrackioCallback

        class Callback(TrackioCallback):
            """It begins a run of its own, by the name in the Trainer's arguments."""

            def setup(self, *args, **kwargs):
                super().setup(*args, **kwargs)
                trackio.config.update(training.settings, tags=training.tags)

        self.trackio, self.callback = trackio, Callback()

    def finish(self, failed: bool) -> None:
        if self.trackio.context_vars.current_run.get() is not None:  # else the callback has done it
            self.trackio.finish()


RUNS: dict[str, Callable[[Described], Any]] = {
    "wandb": WandbRun,
    "tensorboard": TensorBoardRun,
    "mlflow": MlflowRun,
    "trackio": TrackioRun,
}


class Trackers:
    """The one callback of all trackers: what one of them raises is reported once, and ends it."""

    def __init__(self, names: Sequence[str], training: Described, ids: Path) -> None:
        self._names, self._training, self._ids = names, training, ids
        self._runs: dict[str, Any] = {}

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        args.project, args.run_name = self._training.project, self._training.unique_name
        training = replace(self._training, step=state.global_step)
        for name in self._names:
            with self._may_fail(name):
                self._runs[name] = RUNS[name](training)
        atomic_write_json(self._ids, training.ids)
        self._call("on_train_begin", args, state, control, **kwargs)

    def __getattr__(self, event: str):
        if not event.startswith("on_"):
            raise AttributeError(event)
        return functools.partial(self._call, event)

    def finish(self, failed: bool) -> None:
        for name, run in list(self._runs.items()):
            with self._may_fail(name):
                run.finish(failed)

    def _call(self, event: str, *args, **kwargs) -> None:
        for name, run in list(self._runs.items()):
            with self._may_fail(name):
                getattr(run.callback, event)(*args, **kwargs)

    @contextlib.contextmanager
    def _may_fail(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a tracker may raise anything
            said = one_line(f"{type(error).__name__}: {error}").rstrip(": ")[:300]
            log.warning("%s fails (%s); the training continues without it", name, said)
            run = self._runs.pop(name, None)
            if run is not None:
                with contextlib.suppress(Exception):
                    run.finish(failed=True)


@contextlib.contextmanager
def tracked(trainer, config: ModelConfig, run: dict) -> Iterator[None]:
    """Report what a PackedTrainer trains in the block to `tracking.report_to`.

    Only its first process does. config: effective. run: as run.json names it.
    """
    names = config.tracking.report_to
    if not (names and trainer.ranks.first):
        yield
        return
    check_keys(names)
    file = trainer.work / IDS
    ids = {OURS: f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"}
    with contextlib.suppress(OSError, ValueError):
        ids |= json.loads(file.read_text(encoding="utf-8"))
    described = Described(
        project=config.tracking.project or "yoyak",
        name=Run(**run).name,
        tags=config.experiment.tags,
        settings={**config.model_dump(exclude={"tracking", "experiment"}), "run": run},
        ids=ids,
    )
    trackers = Trackers(names, described, file)
    trainer.add_callback(trackers)
    try:
        yield
    except BaseException:
        trackers.finish(failed=True)
        raise
    trackers.finish(failed=False)
