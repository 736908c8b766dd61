"""A checkpoint after so many minutes, beside those of the epochs."""

import time

from transformers import TrainerCallback

from yoyak.training.parallel import Ranks


class SaveByTime(TrainerCallback):
    """Requests a checkpoint when the last one is older than `minutes`."""

    def __init__(self, minutes: float, ranks: Ranks):
        self.seconds = minutes * 60
        self.ranks = ranks
        self.last = time.monotonic()

    def on_step_end(self, args, state, control, **kwargs):
        if self.ranks.from_first(lambda: time.monotonic() - self.last >= self.seconds):
            control.should_save = True
        return control

    def on_save(self, args, state, control, **kwargs):
        self.last = time.monotonic()
        return control
