"""Non-finite numbers: a training stops at them, and counts the steps that float16 skipped."""

import logging
import math

log = logging.getLogger(__name__)
MOST_SKIPPED = 10  # steps in a row: by then a float16 scaler has come down by 2^10


class NonFiniteLoss(Exception):
    """Training cannot continue; the message names step, examples and cure."""


class OverflowWatch:
    """Checks every step's loss and gradient norm.

    In float16 a gradient scaler skips a step whose gradients overflow, and halves its scale; the
    Trainer continues silently. A few such steps at the beginning are usual; if all steps are
    skipped, the model learns nothing.

    Attributes:
        skipped: steps skipped so far, those before a resume included.
    """

    def __init__(self, compute_dtype: str, skipped: int = 0):
        self.half = compute_dtype == "float16"
        self.skipped, self._in_a_row = skipped, 0

    def check(self, logs: dict, step: int, examples: list[int]) -> None:
        """Check what the Trainer is about to log; `examples` are the indices of the step's
        examples.

        A float16 step is skipped exactly when its gradient norm is not finite. accelerate's own
        flag does not show it: a fused optimiser skips by itself.

        Raises:
            NonFiniteLoss: the loss or (except in float16) the gradient norm is not finite, or too
            many steps in a row were skipped.
        """
        norm = logs.get("grad_norm", 0.0)
        if not math.isfinite(logs["loss"]):
            raise self._stopped(f"the loss became {logs['loss']}", step, examples)
        if math.isfinite(norm):
            self._in_a_row = 0
            return
        if not self.half:
            raise self._stopped(f"the gradients' norm became {norm}", step, examples)
        self.skipped += 1
        self._in_a_row += 1
        log.warning("step %d: skipped, its gradients overflow in float16", step)
        if self._in_a_row == MOST_SKIPPED:
            what = f"the gradients overflowed {MOST_SKIPPED} times in a row, last"
            raise self._stopped(what, step, examples)

    def _stopped(self, what: str, step: int, examples: list[int]) -> NonFiniteLoss:
        shown = ", ".join(map(str, sorted(examples)[:8])) + (" …" if len(examples) > 8 else "")
        cure = "set model.dtype: bf16" if self.half else "lower training.learning_rate"
        return NonFiniteLoss(
            f"{what} at step {step} (examples {shown}); {cure} and run the same command again"
        )
