"""One training from examples to files: plan, model, trainer, and what it leaves behind."""

import csv
import io
import logging
from dataclasses import replace
from pathlib import Path

import torch

from yoyak.config.model_config import ModelConfig, TrainingSettings
from yoyak.data.llm_dataset import LLMSummarizationDataset
from yoyak.models.embedding_rows import trained_tokens
from yoyak.models.lora_loader import LoRALoader
from yoyak.models.reference import EAGER, causal_lm
from yoyak.models.saving import save_trained
from yoyak.run.execution import Engine, ModelShape, Plan, plan_training
from yoyak.run.workspace import atomic_directory, atomic_write_text
from yoyak.training.check import pick_examples
from yoyak.training.checkpointing import newest_whole_checkpoint, read_facts
from yoyak.training.engine import choose_engine
from yoyak.training.llm_trainer import LLMTrainer
from yoyak.training.out_of_memory import forced_plan, note_plan, step_down
from yoyak.training.parallel import Ranks
from yoyak.training.progress import show_progress

log = logging.getLogger(__name__)
ALONE = Ranks()
LOG_COLUMNS = (
    *("step", "epoch", "loss", "eval_loss", "learning_rate", "grad_norm"),
    *("tokens_per_second", "supervised_tokens", "skipped_steps"),
)


def checkpoint_shape(loader: LoRALoader) -> ModelShape:
    """The checkpoint's shape, read from its config alone; UserError when that cannot be had."""
    return loader.decoder.shape


def make_plan(
    config: ModelConfig,
    shape: ModelShape,
    device: str,
    train_set: LLMSummarizationDataset,
    ranks: Ranks = ALONE,
    *,
    engine: Engine = Engine(),  # noqa: B008 (frozen)
    free_bytes: int | None = None,
    eager: bool = False,
) -> Plan:
    """The execution plan for training on `train_set`, from the model's shape and free memory.

    Of several devices the fullest one decides: all run the same plan.

    Args:
        free_bytes: memory for the training, its weights included; None: what is free now.
        eager: whether the model's own attention writes its scores out.
    """
    cuda = device.startswith("cuda")
    if free_bytes is None:
        free_bytes = ranks.smallest(torch.cuda.mem_get_info()[0] if cuda else 0)
    training = config.training
    batch = training.batch_size * training.gradient_accumulation_steps
    lengths = train_set.lengths
    return plan_training(
        config,
        shape,
        device=device,
        devices=ranks.count,
        free_bytes=free_bytes,
        supports_bf16=not cuda or torch.cuda.is_bf16_supported(including_emulation=False),
        longest=int(lengths.max()),
        batch_tokens=int(lengths.double().mean() * batch),
        steps=planned_steps(training, len(train_set)),
        engine=engine,
        supervised_share=train_set.supervised_tokens / int(lengths.sum()),
        eager=eager,
    )


def planned_steps(training: TrainingSettings, examples: int) -> int:
    """Optimiser steps of a whole training."""
    batch = training.batch_size * training.gradient_accumulation_steps
    return training.max_steps or -(-examples // batch) * training.epochs


def steps_between_evaluations(
    training: TrainingSettings, train_set: LLMSummarizationDataset
) -> int | None:
    """None: evaluate at the end of each epoch, the usual case.

    With `max_steps` the arms of a study see the same number of optimiser steps, so they are
    evaluated equally often too: after each pass over the dialogues, however many examples an
    augmentation makes of one.
    """
    if training.max_steps is None:
        return None
    batch = training.batch_size * training.gradient_accumulation_steps
    dialogues = len(torch.unique(train_set.dialogue_index))
    return min(-(-dialogues // batch), training.max_steps)


def resume_or_start(
    config: ModelConfig,
    device: str,
    train_set: LLMSummarizationDataset,
    selection_set: LLMSummarizationDataset,
    seed: int,
    work: Path,
    ranks: Ranks = ALONE,
) -> LLMTrainer:
    """Plan, load the model as planned, and wrap it in a trainer whose checkpoints go to `work`.

    A checkpoint in `work` keeps its plan and engine, so that a resumed run is the undisturbed one;
    only after memory ran out the smaller plan left there is taken. The number of devices is
    today's: a training may go on with more or fewer.
    """
    # The first process alone: it may convert a checkpoint and tidies the work folder.
    shape = ranks.from_first(lambda: checkpoint_shape(LoRALoader(config)))
    plan = make_plan(config, shape, device, train_set, ranks)
    kept, checks = ranks.from_first(lambda: _kept_plan(work))
    if kept is not None:
        plan = replace(kept, devices=plan.devices, threads=plan.threads)
    ranks.from_first(lambda: note_plan(work, plan))  # should memory run out while loading
    loader = LoRALoader(
        config, device=plan.device, base_weights=plan.base_weights, compute_dtype=plan.compute_dtype
    )
    torch.set_num_threads(plan.threads)
    model, tokenizer = loader.load_model_and_tokenizer(seed=seed)
    trainer = create_llm_trainer(
        model, tokenizer, train_set, selection_set, config,
        plan=plan, checks=checks, fixed=kept is not None, shape=shape, seed=seed, work=work,
        ranks=ranks,
    )  # fmt: skip
    log.info("execution plan\n%s", trainer.plan.table())
    show_progress(trainer, silent=not ranks.first)
    return trainer


def _kept_plan(work: Path) -> tuple[Plan | None, list[dict] | None]:
    """The plan to keep to, and the checks that it passed: None where they are to be made."""
    checkpoint = newest_whole_checkpoint(work)
    facts = read_facts(checkpoint) if checkpoint else {}
    plan = forced_plan(work) or (Plan(**facts["plan"]) if facts else None)
    return plan, facts.get("checks")


def leave_a_smaller_plan(config: ModelConfig, work: Path) -> str:
    """After memory ran out: put the next smaller plan on record; returns what to tell the user.

    Raises UserError when none is left.
    """
    smaller = step_down(work, checkpoint_shape(LoRALoader(config)), config)
    return (
        "the device's memory ran out; run the same command again, it goes on from the last "
        f"checkpoint with a smaller plan\n{smaller.table()}"
    )


def create_llm_trainer(
    model,
    tokenizer,
    train_set: LLMSummarizationDataset,
    selection_set: LLMSummarizationDataset,
    config: ModelConfig,
    *,
    work: Path,
    plan: Plan | None = None,
    checks: list[dict] | None = None,
    fixed: bool = False,
    shape: ModelShape | None = None,
    seed: int = 42,
    ranks: Ranks = ALONE,
) -> LLMTrainer:
    """LLMTrainer from an effective model config, a loaded model and two datasets.

    Its engine is the fastest that equals transformers' own forward on some of these examples.

    Args:
        work: folder for checkpoints; `fit` resumes from what lies there.
        plan: how the model was loaded; None: made from the free memory, for the model as it is.
        checks: records of the checks that `plan` passed in an earlier process: it is kept.
        fixed: `plan` is to be kept to, with its engine.
        shape: the checkpoint's; None: read from the model.
        ranks: of several processes that share the training, this one.

    Raises UserError when no engine is right for this model.
    """
    shape = shape or ModelShape.from_config(model.config)
    if plan is None:
        plan = make_plan(config, shape, str(model.device), train_set, free_bytes=_room(model))
    if checks is None:

        def plan_for(engine: Engine) -> Plan:
            return plan if fixed else _replan(plan, config, shape, train_set, model, engine)

        def choose() -> tuple[Plan, list[dict]]:
            rows = pick_examples(train_set, selection_set)
            choice = config.execution.engine
            chosen, made = choose_engine(model, rows, choice, plan_for)
            return chosen, [check.record() for check in made]

        plan, checks = ranks.from_first(choose)
    ranks.from_first(lambda: note_plan(work, plan))
    return LLMTrainer(
        model,
        tokenizer,
        training=config.training,
        plan=plan,
        train_dataset=train_set,
        selection_dataset=selection_set,
        seed=seed,
        work=work,
        checkpoint_minutes=config.execution.checkpoint_minutes,
        evaluate_every=steps_between_evaluations(config.training, train_set),
        wandb=config.tracking.wandb,
        ranks=ranks,
        checks=checks,
    )


def _replan(plan: Plan, config: ModelConfig, shape, train_set, model, engine: Engine) -> Plan:
    """The plan of a loaded model for another engine: base weights and memory are as they were."""
    execution = config.execution.model_copy(update={"base_weights": plan.base_weights})
    config = config.model_copy(update={"execution": execution})
    eager = causal_lm(model).config._attn_implementation == EAGER
    return replace(
        make_plan(
            config, shape, plan.device, train_set,
            engine=engine, free_bytes=plan.available_bytes, eager=eager,
        ),
        devices=plan.devices, threads=plan.threads,
    )  # fmt: skip


def _room(model) -> int:
    """Memory that a loaded model may fill: what is free now and what its weights already take."""
    if model.device.type != "cuda":
        return 0
    weights = sum(part.numel() * part.element_size() for part in model.parameters())
    return torch.cuda.mem_get_info(model.device)[0] + weights


def write_outputs(trainer: LLMTrainer, output: Path) -> None:
    """Move final_model/ and training_log.csv into place; call after `trainer.load_best()`."""
    with atomic_directory(output / "final_model") as folder:
        save_trained(trainer.model, trainer.processing_class, folder)
    table = io.StringIO()
    writer = csv.DictWriter(table, LOG_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(merge_by_step(trainer.state.log_history))
    atomic_write_text(output / "training_log.csv", table.getvalue())


def merge_by_step(history: list[dict]) -> list[dict]:
    """One row a step: the training loss and, where there was one, the evaluation's."""
    rows: dict[int, dict] = {}
    for entry in history:
        if "loss" in entry or "eval_loss" in entry:
            rows.setdefault(entry["step"], {}).update(entry)
    return [rows[step] for step in sorted(rows)]


def summary(trainer: LLMTrainer) -> dict:
    """Numbers of the training for run.json."""
    history = trainer.state.log_history
    losses = [entry["loss"] for entry in history if "loss" in entry]
    return {
        "steps": trainer.state.global_step,
        "examples": len(trainer.train_dataset),
        "tokens": trainer.tokens,
        "supervised_tokens": trainer.supervised_tokens,
        "skipped_steps": trainer.watch.skipped,
        "trained_embedding_rows": trained_tokens(trainer.model, trainer.processing_class),
        "train_loss": sum(losses) / len(losses),
        "best_eval_loss": trainer.state.best_metric,
        "best_step": trainer.state.best_global_step,
        "wall_seconds": round(trainer.seconds, 2),
        "tokens_per_second": round(trainer.tokens / trainer.seconds, 1),
    }
