"""LLMTrainer: trains a loaded model on tokenised dialogues and keeps the best checkpoint."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from yoyak.config.model_config import ModelConfig
from yoyak.data.llm_dataset import LLMSummarizationDataset
from yoyak.errors import UserError
from yoyak.models.checkpoints import resolve_checkpoint
from yoyak.models.reference import causal_lm
from yoyak.models.saving import adapted_modules
from yoyak.run.devices import peak_memory_gb, refuse_to_share
from yoyak.run.manual import MANUAL, deciding_settings, refuse_to_replace
from yoyak.run.memory import ModelShape
from yoyak.run.plan import Engine, Plan
from yoyak.run.provenance import write_run_record
from yoyak.run.workspace import discard, work_folder
from yoyak.training import plans
from yoyak.training.arguments import Arguments, quiet_libraries, training_arguments
from yoyak.training.check import pick_examples
from yoyak.training.checkpointing import newest_checkpoint
from yoyak.training.early_stopping import StopEarly
from yoyak.training.engine import choose_engine, restore_model
from yoyak.training.learning_rate import with_peak_rate
from yoyak.training.out_of_memory import note_plan
from yoyak.training.outputs import summary, write_outputs
from yoyak.training.packed_trainer import PackedTrainer
from yoyak.training.parallel import Ranks
from yoyak.training.progress import show_progress
from yoyak.training.record import run_of, training_key, weight_files
from yoyak.training.rouge import rouge_on
from yoyak.training.trackers import tracked

log = logging.getLogger(__name__)
TRAINED = "yoyak_trained"  # attribute of a model whose weights are no longer as loaded


class LLMTrainer:
    """Trains on packed batches wherever that gives correct results for the model.

    The engine is the fastest that equals transformers' own forward on some of these examples.
    Between its methods the model has transformers' own layers and attention.

    Args:
        config: effective model config; how the model was loaded wins over it.
        model, tokenizer: from load_lora_model_and_tokenizer.
        train_dataset, eval_dataset: from create_llm_dataset.
        output_dir: for final_model/, training_log.csv and run.json; None:
            results/manual/{experiment.name}.
        overwrite: replace a training with other settings or examples that has finished there.
        seed: of the order of the examples and of dropout.
        work: folder for checkpoints; None: one of its own in `output_dir` until all is trained.
        plan: how the model was loaded; None: made from the free memory, for the model as it is.
        checks: records of the checks that `plan` passed in an earlier process: it is kept.
        fixed: keep to `plan`, except for an engine that has not been checked yet.
        shape: the checkpoint's; None: read from the model.
        ranks: of several processes that share the training, this one.
        record: inputs for run.json; None: taken from the datasets.

    Raises UserError when no engine is right for this model, not even the smallest plan fits, or
    `execution.devices` asks for more processes than this one.
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
        overwrite: bool = False,
        seed: int = 42,
        work: Path | None = None,
        plan: Plan | None = None,
        checks: list[dict] | None = None,
        fixed: bool = False,
        shape: ModelShape | None = None,
        ranks: Ranks = plans.ALONE,
        record: dict | None = None,
    ):
        if ranks.count == 1:
            refuse_to_share(config.execution)
        for name, part in (("train_dataset", train_dataset), ("eval_dataset", eval_dataset)):
            if not hasattr(part, "dialogue_index"):
                raise UserError(
                    f"{name}: found {type(part).__name__}, wanted examples of create_llm_dataset"
                )
        self._given_config, self.config = config, plans.as_loaded(config, model)
        self.model, self.tokenizer = model, tokenizer
        self.train_dataset, self.eval_dataset = train_dataset, eval_dataset
        self.output_dir = Path(output_dir or MANUAL / (config.experiment.name or "unnamed"))
        self.seed, self.ranks, self.overwrite, self.record = seed, ranks, overwrite, record
        self._given_work = work
        self.work = work or self.output_dir / ".work"
        self.own_attention = causal_lm(model).config._attn_implementation
        self.packed: PackedTrainer  # of the last training
        self.resumed_from, self.peak_memory_gb = 0, 0.0
        self.plan, self.checks = self._choose(plan, checks, fixed, shape)
        self.warnings = plans.warn(config.training, model, train_dataset, speak=ranks.first)
        self.training = with_peak_rate(config, model)

    def train(self) -> dict:
        """Train to the end, from the newest complete checkpoint if there is one; keep the best.

        A finished training with equal settings is trained again and replaced.

        Returns:
            train_loss: mean over the steps. eval_loss: the lowest, at step `best_step`.
            final_model: the folder that was written.

        Raises:
            UserError: a training of another kind has finished in `output_dir`, or the model was
                trained before and there is no checkpoint to resume from.
            NonFiniteLoss: at the first loss that is not a number.
            Interrupted: a signal asked to stop; the checkpoint is saved.
        """
        if not self.overwrite:
            here = deciding_settings(self._settings(), self._run(), self._datasets())
            cure = "name another output_dir, or replace it with overwrite=True"
            refuse_to_replace(self.output_dir, here, cure)
        with self._work_folder() as work, self._in_place(work) as packed:
            self.packed = packed
            if getattr(self.model, TRAINED, False) and newest_checkpoint(self.work) is None:
                raise UserError(
                    "model: it was trained before, which its record would not say; load it again "
                    "with load_lora_model_and_tokenizer"
                )
            setattr(self.model, TRAINED, True)
            known = self.config.model_copy(update={"training": self.training})
            with tracked(packed, known, (self.record or {}).get("run") or self._run()):
                self.resumed_from = packed.fit()
            self.peak_memory_gb = self.ranks.largest(peak_memory_gb())
            if self.ranks.first:
                packed.load_best()
                (self.output_dir / "run.json").unlink(missing_ok=True)  # of what is replaced now
                write_outputs(packed, self.output_dir)
                self._write_record()
        found = self.summary()
        return {
            "train_loss": found["train_loss"],
            "eval_loss": found["best_eval_loss"],
            "best_step": found["best_step"],
            "final_model": self.output_dir / "final_model",
        }

    def evaluate(self, *, rouge: bool = False) -> dict[str, float]:
        """Evaluate the model as it is now on `eval_dataset`.

        Returns:
            eval_loss: mean over the supervised tokens.
            rouge1, rouge2, rougeL, with `rouge`: mean F1 × 100 of the summaries that it generates,
                decoded and scored as a study does it (Korean: morphemes).
        """
        with tempfile.TemporaryDirectory() as work, self._in_place(Path(work)) as packed:
            found = {"eval_loss": packed.evaluate()["eval_loss"]}
        if rouge:
            found |= rouge_on(self.model, self.tokenizer, self.eval_dataset, self.config)
        return found

    def summary(self) -> dict:
        """Numbers and warnings of the finished training, for its record."""
        found = {"learning_rate": self.training.learning_rate, "warnings": self.warnings}
        return {**summary(self.packed), **found}

    def _create_training_args(self) -> Arguments:
        """The Trainer's own arguments, from the config's section `training` and the plan."""
        training = self.training
        between = plans.steps_between_evaluations(training, self.train_dataset)
        return training_arguments(training, self.plan, self.seed, self.work, between)

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
        if self.training.early_stopping_patience:
            trainer.add_callback(StopEarly(self.training.early_stopping_patience))
        show_progress(trainer, silent=not self.ranks.first)
        return trainer

    def _choose(self, plan, checks, fixed: bool, shape) -> tuple[Plan, list[dict]]:
        """The plan to train by, and records of the checks that it passed."""
        config, model, data = self.config, self.model, self.train_dataset
        shape = shape or ModelShape.from_config(model.config)
        if plan is None:
            device, room = str(model.device), plans.usable_bytes(model)
            plan = plans.make_plan(config, shape, device, data, free_bytes=room, seed=self.seed)
        if checks is not None:
            return plan, checks

        def plan_for(engine: Engine) -> Plan:
            if fixed:
                return plans.on_engine(plan, engine)
            return plans.replan(plan, config, shape, data, engine, self.seed)

        def choose() -> tuple[Plan, list[dict]]:
            rows = pick_examples(data, self.eval_dataset)
            try:
                chosen, made = choose_engine(model, rows, config.execution.engine, plan_for)
            finally:
                restore_model(model, self.own_attention)
            return chosen, [check.record() for check in made]

        with quiet_libraries():
            return self.ranks.from_first(choose)

    @contextlib.contextmanager
    def _in_place(self, work: Path) -> Iterator[PackedTrainer]:
        """Run the block with the plan's engine in the model, then restore transformers' own."""
        self.work = work
        torch.set_num_threads(self.plan.threads)
        with quiet_libraries():
            try:
                yield self._create_trainer()
            finally:
                restore_model(self.model, self.own_attention)
                self.model.eval()

    @contextlib.contextmanager
    def _work_folder(self) -> Iterator[Path]:
        """A folder for this training's checkpoints, removed when all results are written."""
        given = self._given_work
        if given is not None:
            self.ranks.from_first(lambda: note_plan(given, self.plan))
            yield given
            return
        with work_folder(self.output_dir, self._key()) as work:
            yield work
        discard(self.output_dir)

    def _settings(self) -> ModelConfig:
        """The config for the record: with the adapters as loaded, and `auto` where it said so."""
        return self._given_config.model_copy(update={"lora": self.config.lora})

    def _run(self) -> dict:
        return run_of(self.config, self.train_dataset, self.seed)

    def _datasets(self) -> dict[str, str]:
        """SHA-256 of the examples."""
        sets = {"train_dataset": self.train_dataset, "eval_dataset": self.eval_dataset}
        return {name: examples.digest() for name, examples in sets.items()}

    def _write_record(self) -> None:
        """run.json: where the result came from."""
        record = self.record or {
            "inputs": weight_files(self.config),
            "run": self._run(),
            "fingerprint": self._key(),
        }
        write_run_record(
            self.output_dir / "run.json",
            step="train",
            settings=self._settings().model_dump(),
            seed=self.seed,
            datasets=self._datasets(),
            checkpoint_commit=resolve_checkpoint(self.config.model).commit(),
            target_modules=adapted_modules(self.model),
            execution=self.plan.record(),
            engine=self.plan.runs(),
            engine_checks=self.checks,
            resumed_from_step=self.resumed_from,
            peak_memory_gb=round(self.peak_memory_gb, 3),
            **self.summary(),
            **record,
        )

    def _key(self) -> str:
        return training_key(self.config, self.seed, self._datasets())


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
