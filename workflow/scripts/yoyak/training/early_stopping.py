"""Early stopping by patience, which a resumed training goes on counting."""

import logging

from transformers import EarlyStoppingCallback, TrainerState

log = logging.getLogger(__name__)


class StopEarly(EarlyStoppingCallback):
    """transformers' own, with its count in every checkpoint."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.early_stopping_patience_counter = _count(state)

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        super().on_evaluate(args, state, control, metrics, **kwargs)
        state.stateful_callbacks[StopEarly.__name__] = self.state()
        if control.should_training_stop:
            log.info(
                "stopping early at epoch %.4g, step %d of %d: no lower selection loss in %d "
                "evaluations",
                *(state.epoch, state.global_step, state.max_steps),
                self.early_stopping_patience,
            )


def stopped_early(state: TrainerState) -> bool:
    """Whether a training is over for want of a lower selection loss."""
    kept = state.stateful_callbacks.get(StopEarly.__name__)
    return bool(kept) and _count(state) >= kept["args"]["early_stopping_patience"]


def _count(state: TrainerState) -> int:
    """Evaluations without a lower selection loss, as the state of a checkpoint has it."""
    kept = state.stateful_callbacks.get(StopEarly.__name__)
    return kept["attributes"]["early_stopping_patience_counter"] if kept else 0
