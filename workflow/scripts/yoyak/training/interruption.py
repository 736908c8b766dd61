"""On SIGTERM, SIGINT or SIGUSR1: save a checkpoint, then stop."""

import signal

from transformers import TrainerCallback

from yoyak.errors import AGAIN

EXIT_CODE = AGAIN
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Interrupted(Exception):
    """Training stopped early on request, with its checkpoint saved."""


class StopOnSignal(TrainerCallback):
    """Finishes the current optimiser step, requests a checkpoint and stops the training.

    A second signal of the same kind ends the process as it would without Yoyak.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._before = {}

    def on_train_begin(self, args, state, control, **kwargs):
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}

    def on_step_end(self, args, state, control, **kwargs):
        if self.received is not None:
            control.should_save = control.should_training_stop = True
        return control

    def on_epoch_end(self, args, state, control, **kwargs):
        # The Trainer ends an interrupted epoch like a complete one. A mid-epoch evaluation would
        # be one that an uninterrupted run never makes.
        in_mid_epoch = abs(state.epoch - round(state.epoch)) > 1e-6
        if self.received is not None and in_mid_epoch and state.global_step < state.max_steps:
            control.should_evaluate = control.should_save = False
        return control

    def on_train_end(self, args, state, control, **kwargs):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        self.received = signal.Signals(number)
        signal.signal(number, self._before[number])
