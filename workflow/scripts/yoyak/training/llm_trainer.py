"""LLMTrainer: a Hugging Face Trainer whose optimiser step is one padding-free global batch."""

import contextlib
import logging
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler
from transformers import Trainer, TrainerCallback, TrainingArguments

from yoyak.data.packing import Pack, pack_batch
from yoyak.models.lora_loader import save_trained
from yoyak.run.execution import Plan
from yoyak.training import checkpointing
from yoyak.training.loss import pack_loss

log = logging.getLogger(__name__)


class NonFiniteLoss(Exception):
    """Training cannot go on; the text names step, examples and cure."""


class LLMTrainer(Trainer):
    """Trains on global batches of exactly batch_size × gradient_accumulation_steps examples.

    A batch is cut into packs of at most `plan.token_budget` tokens; the gradient is that of the
    mean loss over all of the batch's supervised tokens, whatever the cut. The last batch of an
    epoch holds what is left. Callbacks, schedulers and resuming are the Trainer's own.

    Args:
        model, tokenizer: from LoRALoader.load_for_training.
        training: the config's section of that name. plan: see yoyak.run.execution.
        train_dataset, selection_dataset: items {"input_ids", "labels"}, 1-D tensors.
        work: folder for checkpoints. checkpoint_minutes: also save after this time.
    """

    def __init__(
        self,
        model,
        tokenizer,
        *,
        training: dict,
        plan: Plan,
        train_dataset: Dataset,
        selection_dataset: Dataset,
        seed: int,
        work: Path,
        checkpoint_minutes: float = 15,
        evaluate_every: int | None = None,
        wandb: bool = False,
    ):
        self.plan = plan
        self.work = Path(work)
        self.global_batch = training["batch_size"] * training["gradient_accumulation_steps"]
        self.supervised_tokens = 0
        self.tokens = 0
        self.seconds_before = 0.0
        self._started = self._last_log = time.monotonic()
        self._tokens_at_log = 0
        super().__init__(
            model=model,
            args=_arguments(training, plan, seed, self.work, evaluate_every, wandb),
            train_dataset=_Numbered(train_dataset),
            eval_dataset=_Numbered(selection_dataset),
            processing_class=tokenizer,
            data_collator=self._collate,
            callbacks=[_SaveByTime(checkpoint_minutes)],
        )
        self.can_return_loss = True

    # ---- one optimiser step ----

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        """Backward through every pack of a global batch; returns its mean loss (scalar)."""
        model.train()
        packs: list[Pack] = inputs["packs"]
        supervised = sum(len(pack.targets) for pack in packs)
        total = None
        for pack in packs:
            pack = pack.to(self.args.device)
            with self.compute_loss_context_manager():
                loss = pack_loss(model, pack) / supervised
            self.accelerator.backward(loss)
            total = loss.detach() if total is None else total + loss.detach()
        self.supervised_tokens += supervised
        self.tokens += sum(pack.tokens for pack in packs)
        if not torch.isfinite(total):
            self._stop(packs, total)
        return total

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval") -> dict:
        """Mean loss over a set's supervised tokens by the same engine; logits are never kept."""
        dataset = eval_dataset if eval_dataset is not None else self.eval_dataset
        self.model.eval()
        total, supervised = 0.0, 0
        for start in range(0, len(dataset), self.global_batch):
            rows = [dataset[i] for i in range(start, min(start + self.global_batch, len(dataset)))]
            for pack in self._collate(rows)["packs"]:
                with torch.no_grad(), self.compute_loss_context_manager():
                    total += pack_loss(self.model, pack.to(self.args.device)).item()
                supervised += len(pack.targets)
        metrics = {f"{metric_key_prefix}_loss": total / supervised}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _collate(self, rows: list[dict]) -> dict:
        numbers = [row["number"] for row in rows]
        return {"packs": pack_batch(rows, numbers, self.plan.token_budget, fixed=self.plan.compile)}

    def _stop(self, packs: list[Pack], loss: torch.Tensor) -> None:
        examples = sorted(number for pack in packs for number in pack.examples)
        shown = ", ".join(map(str, examples[:8])) + (" …" if len(examples) > 8 else "")
        cure = (
            "set model.compute_dtype: bfloat16"
            if self.plan.compute_dtype == "float16"
            else "lower training.learning_rate"
        )
        raise NonFiniteLoss(
            f"the loss became {loss.item()} at step {self.state.global_step + 1} "
            f"(examples {shown}); {cure} and run the same command again"
        )

    # ---- what the Trainer asks for ----

    def _get_train_sampler(self, train_dataset=None) -> Sampler:
        return _SeededOrder(len(self.train_dataset), self.args.data_seed)

    def floating_point_ops(self, inputs) -> int:
        return 0  # counted in tokens, see `log`

    def log(self, logs: dict, start_time: float | None = None) -> None:
        if "loss" in logs:
            now = time.monotonic()
            logs["tokens_per_second"] = round(
                (self.tokens - self._tokens_at_log) / max(now - self._last_log, 1e-9), 1
            )
            logs["supervised_tokens"] = self.supervised_tokens
            self._last_log, self._tokens_at_log = now, self.tokens
        super().log(logs)
        if "eval_loss" in logs:
            self._last_log = time.monotonic()

    # ---- checkpoints ----

    @property
    def seconds(self) -> float:
        """Wall time of the training so far, interrupted runs included."""
        return self.seconds_before + time.monotonic() - self._started

    def _save_checkpoint(self, model, trial) -> None:
        """Write everything that a resume needs aside, then make it a checkpoint in one move."""
        step = self.state.global_step
        aside = self.work / f"{checkpointing.ASIDE}{step}"
        shutil.rmtree(aside, ignore_errors=True)
        save_trained(self.accelerator.unwrap_model(self.model), self.processing_class, aside)
        self._save_optimizer_and_scheduler(str(aside))
        self._save_scaler(str(aside))
        self._save_rng_state(str(aside))
        self.state.save_to_json(str(aside / "trainer_state.json"))
        facts = {
            "plan": self.plan.record(),
            "seconds": self.seconds,
            "tokens": self.tokens,
            "supervised_tokens": self.supervised_tokens,
        }
        checkpointing.seal(aside, self.work / f"checkpoint-{step}", facts)
        best = self.state.best_global_step
        checkpointing.remove_old(self.work, {f"checkpoint-{step}", f"checkpoint-{best}"})

    def fit(self) -> int:
        """Train to the end, from the newest whole checkpoint if there is one.

        Returns: the step it resumed from, 0 for a fresh start.

        Raises NonFiniteLoss at the first loss that is not a number.
        """
        checkpoint = checkpointing.newest_whole_checkpoint(self.work)
        if checkpoint is None:
            self.train()
            return 0
        facts = checkpointing.read_facts(checkpoint)
        self.seconds_before = facts["seconds"]
        self.tokens = self._tokens_at_log = facts["tokens"]
        self.supervised_tokens = facts["supervised_tokens"]
        step = checkpointing.step_of(checkpoint)
        log.info("resuming from step %d (%s)", step, checkpoint.name)
        state = _read_state(checkpoint)
        if step >= state.max_steps:  # all was trained and only the end was cut off
            self.state = state
        else:
            self.train(resume_from_checkpoint=str(checkpoint))
        return step

    def load_best(self) -> int:
        """Load the weights with the lowest selection loss; returns their step."""
        best = self.state.best_global_step
        self._load_from_checkpoint(str(self.work / f"checkpoint-{best}"))
        return best


def create_llm_trainer(model, tokenizer, train_dataset, selection_dataset, config, plan, **options):
    """LLMTrainer from an effective model config; see README.md for its use in ten lines."""
    return LLMTrainer(
        model,
        tokenizer,
        training=config["training"],
        plan=plan,
        train_dataset=train_dataset,
        selection_dataset=selection_dataset,
        checkpoint_minutes=config["execution"]["checkpoint_minutes"],
        wandb=config["tracking"]["wandb"],
        **options,
    )


class _Numbered(Dataset):
    """A dataset whose items say which one they are, so that an error can name the row."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> dict:
        return {**self.dataset[number], "number": number}


class _SeededOrder(Sampler):
    """A permutation that depends on seed and epoch alone, so that a resume sees the same order."""

    def __init__(self, length: int, seed: int):
        self.length, self.seed, self.epoch = length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.length

    def __iter__(self):
        return iter(
            np.random.default_rng([self.seed, self.epoch]).permutation(self.length).tolist()
        )


class _SaveByTime(TrainerCallback):
    """Asks for a checkpoint when the last one is older than `minutes`."""

    def __init__(self, minutes: float):
        self.seconds = minutes * 60
        self.last = time.monotonic()

    def on_step_end(self, args, state, control, **kwargs):
        if time.monotonic() - self.last >= self.seconds:
            control.should_save = True
        return control

    def on_save(self, args, state, control, **kwargs):
        self.last = time.monotonic()
        return control


def _read_state(checkpoint: Path):
    from transformers import TrainerState

    return TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))


def _arguments(training, plan, seed, work, evaluate_every, wandb) -> TrainingArguments:
    cuda = plan.device.startswith("cuda")
    strategy = "steps" if evaluate_every else "epoch"
    every = {"eval_steps": evaluate_every, "save_steps": evaluate_every} if evaluate_every else {}
    return TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=training["batch_size"]
        * training["gradient_accumulation_steps"],
        gradient_accumulation_steps=1,
        num_train_epochs=training["epochs"],
        max_steps=training["max_steps"] or -1,
        learning_rate=training["learning_rate"],
        lr_scheduler_type=training["lr_scheduler"],
        warmup_steps=training["warmup_ratio"],
        weight_decay=training["weight_decay"],
        max_grad_norm=training["max_grad_norm"],
        optim=plan.optim,
        eval_strategy=strategy,
        save_strategy=strategy,
        **every,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        **_recompute(plan.gradient_checkpointing),
        bf16=cuda and plan.compute_dtype == "bfloat16",
        fp16=cuda and plan.compute_dtype == "float16",
        use_cpu=not cuda,
        seed=seed,
        data_seed=seed,
        remove_unused_columns=False,
        dataloader_pin_memory=cuda,
        report_to=["wandb"] if wandb else "none",
    )


def _recompute(enabled: bool) -> dict:
    """Activation checkpointing under the name that this transformers version knows it by."""
    new = "activation_checkpointing" in TrainingArguments.__dataclass_fields__
    name = "activation_checkpointing" if new else "gradient_checkpointing"
    return {name: enabled, f"{name}_kwargs": {"use_reentrant": False}} if enabled else {}


@contextlib.contextmanager
def quiet_libraries():
    """Keep the libraries' chatter out of a log in which every line should mean something."""
    import transformers

    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)
