"""Outputs of a training: final_model/, the training log, and numbers for its record."""

import csv
import io
from pathlib import Path

from yoyak.models.embedding_rows import trained_tokens
from yoyak.models.saving import save_trained
from yoyak.run.workspace import atomic_directory, atomic_write_text
from yoyak.training.early_stopping import stopped_early
from yoyak.training.packed_trainer import PackedTrainer

LOG_COLUMNS = (
    *("step", "epoch", "loss", "eval_loss", "learning_rate", "grad_norm"),
    *("tokens_per_second", "supervised_tokens", "skipped_steps"),
)


def write_outputs(trainer: PackedTrainer, output: Path) -> None:
    """Move final_model/ and training_log.csv into place; call after `trainer.load_best()`."""
    with atomic_directory(output / "final_model") as folder:
        save_trained(trainer.model, trainer.processing_class, folder)
    table = io.StringIO()
    writer = csv.DictWriter(table, LOG_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(merge_by_step(trainer.state.log_history))
    atomic_write_text(output / "training_log.csv", table.getvalue())


def merge_by_step(history: list[dict]) -> list[dict]:
    """One row per step: the training loss and, after an evaluation, the selection loss."""
    rows: dict[int, dict] = {}
    for entry in history:
        if "loss" in entry or "eval_loss" in entry:
            rows.setdefault(entry["step"], {}).update(entry)
    return [rows[step] for step in sorted(rows)]


def summary(trainer: PackedTrainer) -> dict:
    """Numbers of the training for run.json."""
    history = trainer.state.log_history
    losses = [entry["loss"] for entry in history if "loss" in entry]
    return {
        "steps": trainer.state.global_step,
        "stopped_early_at_epoch": trainer.state.epoch if stopped_early(trainer.state) else None,
        "examples": len(trainer.train_dataset),
        "tokens": trainer.tokens,
        "supervised_tokens": trainer.supervised_tokens,
        "skipped_steps": trainer.watch.skipped,
        "trained_embedding_rows": trained_tokens(trainer.model, trainer.processing_class),
        "train_loss": sum(losses) / len(losses),
        "loss_fall": loss_fall(losses),
        "best_eval_loss": trainer.state.best_metric,
        "best_step": trainer.state.best_global_step,
        "wall_seconds": round(trainer.seconds, 2),
        "tokens_per_second": round(trainer.tokens / trainer.seconds, 1),
    }


def loss_fall(losses: list[float]) -> float:
    """Relative fall of the training loss from the first tenth of the steps to the last."""
    tenth = max(1, len(losses) // 10)
    first, last = (sum(part) / tenth for part in (losses[:tenth], losses[-tenth:]))
    return 1 - last / first if first else 0.0
