"""LLMTrainer: trains a loaded model on tokenised dialogues and keeps its best state."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import TrainingArguments

from yoyak.config.frozen import training_science
from yoyak.config.model_config import ModelConfig
from yoyak.config.section import canonical
from yoyak.data.llm_dataset import LLMSummarizationDataset
from yoyak.errors import UserError
from yoyak.models.checkpoints import resolve_checkpoint
from yoyak.models.reference import causal_lm
from yoyak.run.estimate import optimiser_steps, training_warnings
from yoyak.run.plan import Engine, ModelShape, Plan
from yoyak.run.provenance import package_versions
from yoyak.run.workspace import discard, hash_file, hash_text, work_folder
from yoyak.training import plans
from yoyak.training.arguments import quiet_libraries, training_arguments
from yoyak.training.check import pick_examples
from yoyak.training.engine import choose_engine, take_out
from yoyak.training.out_of_memory import note_plan
from yoyak.training.outputs import summary, write_outputs
from yoyak.training.packed_trainer import PackedTrainer
from yoyak.training.parallel import Ranks
from yoyak.training.progress import peak_memory_gb, show_progress
from yoyak.training.tracking import wandb_tracker

log = logging.getLogger(__name__)
MANUAL = Path("results/manual")


class LLMTrainer:
    """Holds a Trainer that runs on packed batches wherever that is right for the model.

    The engine is the fastest that equals transformers' own forward on some of these examples.
    Between its methods the model has transformers' own layers and attention.

    Args:
        config: effective model config; how the model was loaded wins over it.
        model, tokenizer: from load_lora_model_and_tokenizer.
        train_dataset, eval_dataset: from create_llm_dataset.
        output_dir: for final_model/ and training_log.csv; None: results/manual/{experiment.name}.
        seed: of the order of the examples and of dropout.
        work: folder for checkpoints; None: one of its own in `output_dir` until all is trained.
        plan: how the model was loaded; None: made from the free memory, for the model as it is.
        checks: records of the checks that `plan` passed in an earlier process: it is kept.
        fixed: `plan` is to be kept to, all but its engine where that was not checked yet.
        shape: the checkpoint's; None: read from the model.
        ranks: of several processes that share the training, this one.

    Raises UserError when no engine is right for this model, or not even the smallest plan fits.
    """

    def __init__(
        self,
        config: ModelConfig,
        model,
        tokenizer,
        train_dataset: LLMSummarizationDataset,
        eval_dataset: LLMSummarizationDataset,
        *,
        output_dir: Path | str | None = None,
        seed: int = 42,
        work: Path | None = None,
        plan: Plan | None = None,
        checks: list[dict] | None = None,
        fixed: bool = False,
        shape: ModelShape | None = None,
        ranks: Ranks = plans.ALONE,
    ):
        for name, part in (("train_dataset", train_dataset), ("eval_dataset", eval_dataset)):
            if not hasattr(part, "dialogue_index"):
                raise UserError(
                    f"{name}: found {type(part).__name__}, wanted examples of create_llm_dataset"
                )
        self.config = plans.as_loaded(config, model)
        self.model, self.tokenizer = model, tokenizer
        self.train_dataset, self.eval_dataset = train_dataset, eval_dataset
        self.output_dir = Path(output_dir or MANUAL / (config.experiment.name or "unnamed"))
        self.seed, self.ranks = seed, ranks
        self._given_work = work
        self.work = work or self.output_dir / ".work"
        self.own_attention = causal_lm(model).config._attn_implementation
        self.packed: PackedTrainer | None = None  # of the last training
        self.resumed_from, self.peak_memory_gb = 0, 0.0
        self.plan, self.checks = self._choose(plan, checks, fixed, shape)
        self.warnings = self._warn()

    def train(self) -> dict:
        """Train to the end, from the newest whole checkpoint if there is one; keep the best.

        Returns:
            train_loss: mean over the steps. eval_loss: the lowest, at step `best_step`.
            final_model: the folder that was written.

        Raises:
            NonFiniteLoss: at the first loss that is not a number.
            Interrupted: a signal asked to leave; the checkpoint is saved.
        """
        with self._work_folder() as self.work, self._in_place() as packed:
            self.packed = packed
            self.resumed_from = packed.fit()
            self.peak_memory_gb = self.ranks.largest(peak_memory_gb())
            if self.ranks.first:
                packed.load_best()
                write_outputs(packed, self.output_dir)
        found = self.summary()
        return {
            "train_loss": found["train_loss"],
            "eval_loss": found["best_eval_loss"],
            "best_step": found["best_step"],
            "final_model": self.output_dir / "final_model",
        }

    def evaluate(self) -> float:
        """Mean loss over the supervised tokens of `eval_dataset`."""
        with tempfile.TemporaryDirectory() as self.work, self._in_place() as packed:
            return packed.evaluate()["eval_loss"]

    def summary(self) -> dict:
        """Numbers of the finished training and what it was warned of, for its record."""
        return {**summary(self.packed), "warnings": self.warnings}

    def _warn(self) -> list[str]:
        """Say what lets this training teach little; returns the same."""
        training, lengths = self.config.training, self.train_dataset.lengths
        found = training_warnings(
            training,
            optimiser_steps(training, len(self.train_dataset)),
            int(lengths.max()),
            ModelShape.from_config(self.model.config).positions,
        )
        for text in found if self.ranks.first else ():
            log.warning("%s", text)
        return found

    def _create_training_args(self) -> TrainingArguments:
        """The Trainer's own arguments, from the config's section `training` and the plan."""
        return training_arguments(
            self.config.training,
            self.plan,
            self.seed,
            self.work,
            plans.steps_between_evaluations(self.config.training, self.train_dataset),
        )

    def _create_trainer(self) -> PackedTrainer:
        """The Trainer that does the work; it puts the plan's engine into the model."""
        trainer = PackedTrainer(
            self.model,
            self.tokenizer,
            args=self._create_training_args(),
            plan=self.plan,
            train_dataset=self.train_dataset,
            selection_dataset=self.eval_dataset,
            checkpoint_minutes=self.config.execution.checkpoint_minutes,
            ranks=self.ranks,
            checks=self.checks,
        )
        if self.config.tracking.wandb and self.ranks.first:
            trainer.add_callback(wandb_tracker())
        show_progress(trainer, silent=not self.ranks.first)
        return trainer

    def _choose(self, plan, checks, fixed: bool, shape) -> tuple[Plan, list[dict]]:
        """The plan to train by, and records of the checks that it passed."""
        config, model, data = self.config, self.model, self.train_dataset
        shape = shape or ModelShape.from_config(model.config)
        if plan is None:
            device, room = str(model.device), plans.room(model)
            plan = plans.make_plan(config, shape, device, data, free_bytes=room)
        if checks is not None:
            return plan, checks

        def plan_for(engine: Engine) -> Plan:
            if fixed:
                return plans.on_engine(plan, engine)
            return plans.replan(plan, config, shape, data, engine)

        def choose() -> tuple[Plan, list[dict]]:
            rows = pick_examples(data, self.eval_dataset)
            try:
                chosen, made = choose_engine(model, rows, config.execution.engine, plan_for)
            finally:
                take_out(model, self.own_attention)
            return chosen, [check.record() for check in made]

        with quiet_libraries():
            return self.ranks.from_first(choose)

    @contextlib.contextmanager
    def _in_place(self) -> Iterator[PackedTrainer]:
        """Run the block with the plan's engine in the model; then it is as transformers made it."""
        torch.set_num_threads(self.plan.threads)
        with quiet_libraries():
            try:
                yield self._create_trainer()
            finally:
                take_out(self.model, self.own_attention)
                self.model.eval()

    @contextlib.contextmanager
    def _work_folder(self) -> Iterator[Path]:
        """A folder for checkpoints of just this training, which goes when all is written."""
        if self._given_work is not None:
            self.ranks.from_first(lambda: note_plan(self._given_work, self.plan))
            yield self._given_work
            return
        with work_folder(self.output_dir, "train", self._key()) as work:
            yield work
        discard(self.output_dir, "train")

    def _key(self) -> str:
        """Equal only if a checkpoint is one of this very training."""
        files = resolve_checkpoint(self.config.model).weight_files()
        parts = {
            "science": training_science(self.config) | {"seed": self.seed},
            "data": [self.train_dataset.digest(), self.eval_dataset.digest()],
            "checkpoint": [hash_file(file) for file in files if file.is_file()],
            "packages": package_versions(),
        }
        return hash_text(canonical(parts))[:16]


def create_llm_trainer(
    config: ModelConfig,
    model,
    tokenizer,
    train_dataset: LLMSummarizationDataset,
    eval_dataset: LLMSummarizationDataset,
    **options,
) -> LLMTrainer:
    """LLMTrainer; `options` are its keyword-only arguments, such as `output_dir` and `seed`."""
    return LLMTrainer(config, model, tokenizer, train_dataset, eval_dataset, **options)
