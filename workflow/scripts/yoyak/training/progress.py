"""Progress of a training, a line every ten seconds: loss, speed, memory and time left."""

import logging
import sys
import time

from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from yoyak.run.devices import peak_memory_gb
from yoyak.run.logs import duration

log = logging.getLogger(__name__)
SECONDS_BETWEEN_LINES = 10


class ProgressLog(TrainerCallback):
    """Writes a line at the first and last step, at every evaluation, and every ten seconds."""

    def __init__(self):
        self.first_step: int | None = None
        self.started = self.last_line = time.monotonic()

    def on_step_begin(self, args, state, control, **kwargs):
        if self.first_step is None:
            self.first_step, self.started = state.global_step, time.monotonic()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "eval_loss" in logs:
            log.info("step %d: selection loss %.4f", state.global_step, logs["eval_loss"])
        elif "loss" in logs and self._due(state):
            self.last_line = time.monotonic()
            log.info(
                "step %d/%d  loss %.4f  lr %.2e  %s tokens/s  %s supervised  %.1f GB  left %s",
                state.global_step,
                state.max_steps,
                logs["loss"],
                logs["learning_rate"],
                f"{logs['tokens_per_second']:,.0f}",
                f"{logs['supervised_tokens']:,}",
                peak_memory_gb(),
                duration(self._seconds_left(state)),
            )

    def _due(self, state) -> bool:
        late = time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES
        return late or state.global_step in ((self.first_step or 0) + 1, state.max_steps)

    def _seconds_left(self, state) -> float:
        done = state.global_step - self.first_step
        return (time.monotonic() - self.started) / done * (state.max_steps - state.global_step)


class ProgressBar(ProgressCallback):
    """The Trainer's bar with loss and speed beside it, instead of a line for every step."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        if self.training_bar is not None and "loss" in logs:
            self.training_bar.set_postfix_str(
                f"loss {logs['loss']:.3f}, {logs['tokens_per_second']:,.0f} tokens/s"
            )


def show_progress(trainer, silent: bool = False) -> None:
    """Lines for the log, and a progress bar on a terminal.

    silent: neither, for all but the first of several processes.
    """
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    if silent:
        return
    trainer.add_callback(ProgressLog())
    if sys.stderr.isatty():
        trainer.add_callback(ProgressBar())
