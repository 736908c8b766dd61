"""A Trainer under which a GPU does not wait for Python between two optimiser steps.

While the GPU computes a step, Python packs the next batch; a step's loss and gradient norm are read
while the next step computes. Read at once, they would wait for all work given to the GPU before,
and it would idle until Python had begun the next step.
"""

import time
from typing import Any

import torch
from transformers import Trainer, TrainerControl


class OverlappedTrainer(Trainer):
    """The Trainer, for one batch an optimiser step; what is trained and logged stays the same.

    A callback hears of a step's log when the next step is at work: one that stops the training
    there stops it a step later.

    Attributes:
        overlaps: whether to; on a CPU nothing would be gained.
        ended: while a step is logged late, when the GPU had computed it (time.monotonic()).
    """

    control: TrainerControl

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.overlaps = self.args.device.type == "cuda"
        self._fetch: tuple | None = None
        self._ahead: tuple[Any, Any] = (None, None)
        self._held: HeldLog | None = None
        self.ended: float | None = None
        self._begun = Moment(self.args.device)

    def while_the_gpu_computes(self) -> None:
        """To be called in training_step once all of the step's work is given to the GPU."""
        self._log_held()
        if self._fetch is not None and self.overlaps:
            self._ahead = (self._fetch[0], super().get_batch_samples(*self._fetch))

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """The next batch, fetched while the GPU was still busy with the last one."""
        iterator, ahead = self._ahead
        self._ahead = (None, None)
        if iterator is not epoch_iterator:
            ahead = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._fetch = (epoch_iterator, num_batches, device)
        return ahead

    def _maybe_log_save_evaluate(self, tr_loss, grad_norm, *others, **named) -> None:
        """The Trainer's own; what is only to be logged waits until the next step is at work."""
        now = self.control
        decided = now.should_evaluate or now.should_save
        ends = now.should_epoch_stop or now.should_training_stop
        if self._held is not None:  # the epoch ends, no step came after it
            self._log_held()
        elif self.overlaps and now.should_log and not (decided or ends):
            self._held = HeldLog(tr_loss, grad_norm, others, named, self._begun)
            tr_loss.zero_()
        else:
            super()._maybe_log_save_evaluate(tr_loss, grad_norm, *others, **named)

    def _log_held(self) -> None:
        """Log the last step if that is still to do; the state's step is still its number."""
        held, self._held = self._held, None
        if held is not None:
            self.control.should_log = True
            values, named = held.arguments()
            self.ended = held.ended
            super()._maybe_log_save_evaluate(*values, **named)
            self.ended = None


class Moment:
    """When a GPU has done what it was given so far; on a CPU, now."""

    def __init__(self, device: torch.device):
        self.time, self._event = time.monotonic(), None
        if device.type == "cuda":
            self._event = torch.cuda.Event(enable_timing=True)
            self._event.record()

    def after(self, begun: "Moment") -> float:
        """This moment as time.monotonic(); waits until it has come.

        begun: an earlier one, when the GPU had nothing to do.
        """
        if self._event is None or begun._event is None:
            return self.time
        self._event.synchronize()
        return begun.time + begun._event.elapsed_time(self._event) / 1000


class HeldLog:
    """A step's loss and gradient norm on their way from the device, and what goes with them."""

    def __init__(self, loss, grad_norm, others: tuple, named: dict, begun: Moment):
        numbers = torch.stack([loss.detach().float(), grad_norm.detach().float()])
        self._numbers = numbers.to("cpu", non_blocking=True)  # pinned, when the step is done
        self._copied, self._begun = Moment(loss.device), begun
        self._others, self._named = others, named
        self.ended = 0.0

    def arguments(self) -> tuple[tuple, dict]:
        """Of Trainer._maybe_log_save_evaluate, once the step is done."""
        self.ended = self._copied.after(self._begun)
        loss, grad_norm = self._numbers
        return (loss, grad_norm, *self._others), self._named
