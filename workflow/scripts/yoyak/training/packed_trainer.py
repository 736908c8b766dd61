"""PackedTrainer: a Hugging Face Trainer whose optimiser step is one padding-free global batch."""

import logging
import shutil
import time
from pathlib import Path

import torch
from peft.optimizers import create_loraplus_optimizer
from torch.utils.data import Dataset, Sampler
from transformers import TrainerState, set_seed

from yoyak.data.packing import Pack, count_supervised, pack_batch
from yoyak.data.padding import PaddedBatch, pad_batch
from yoyak.models.saving import save_trained
from yoyak.run.plan import Plan
from yoyak.training import checkpointing
from yoyak.training.arguments import Arguments
from yoyak.training.early_stopping import stopped_early
from yoyak.training.engine import apply_plan
from yoyak.training.interruption import Interrupted, StopOnSignal
from yoyak.training.loss import batch_loss, number_format
from yoyak.training.neftune import noisy_embeddings
from yoyak.training.order import Numbered, SeededOrder
from yoyak.training.overflow import OverflowWatch
from yoyak.training.overlap import OverlappedTrainer
from yoyak.training.pack_graphs import PackGraphs
from yoyak.training.parallel import Ranks, StopTogether
from yoyak.training.save_by_time import SaveByTime

log = logging.getLogger(__name__)


class PackedTrainer(OverlappedTrainer):
    """Trains on global batches of exactly batch_size × gradient_accumulation_steps examples.

    A batch is split into micro-batches of at most `plan.token_budget` tokens: packs or, on the
    plain path, padded batches. The gradient is that of the mean loss over all supervised tokens of
    the global batch, however it is split. The last batch of an epoch holds the remaining examples.
    Callbacks, schedulers and resuming are the Trainer's own.

    Args:
        model, tokenizer: from LoRALoader.load_model_and_tokenizer.
        args: see yoyak.training.arguments; one batch is one optimiser step, checkpoints go to
            `output_dir`.
        plan: see yoyak.run.plan.
        train_dataset, selection_dataset: items {"input_ids", "labels"}, 1-D tensors.
        checkpoint_minutes: also save after this time.
        ranks: this process's rank among those that share the training.
        checks: records of the engine's checks, kept with every checkpoint.
    """

    optimizer: torch.optim.Optimizer | None

    def __init__(
        self,
        model,
        tokenizer,
        *,
        args: Arguments,
        plan: Plan,
        train_dataset: Dataset,
        selection_dataset: Dataset,
        checkpoint_minutes: float = 15,
        ranks: Ranks | None = None,
        checks: list[dict] | None = None,
    ):
        self.plan = plan
        self.checks = checks or []
        self.ranks = ranks or Ranks()
        self.work = Path(args.output_dir)
        self.global_batch = args.per_device_train_batch_size
        self.supervised_tokens = 0
        self.tokens = 0
        self.watch = OverflowWatch(plan.compute_dtype)
        self.seconds_before = 0.0
        self._started = self._last_log = time.monotonic()
        self._tokens_at_log = 0
        self._trained: list[int] = []  # numbers of the examples of the last step
        apply_plan(model, plan)
        super().__init__(
            model=model,
            args=args,
            train_dataset=Numbered(train_dataset),
            eval_dataset=Numbered(selection_dataset),
            processing_class=tokenizer,
            data_collator=self._collate,
            callbacks=[SaveByTime(checkpoint_minutes, self.ranks)],
        )
        self.neftune_noise_alpha = None  # the Trainer's own hook; see yoyak.training.neftune
        if not self.ranks.first:  # the Trainer gave all of them the same
            set_seed(self.ranks.seed(args.seed))
        self._leave = (
            StopTogether(self.ranks, self.ranks.context) if self.ranks.context else StopOnSignal()
        )
        self.add_callback(self._leave)
        self.can_return_loss = True
        self.graphs: PackGraphs | None = None
        if plan.graphs:
            trained = [part for part in model.parameters() if part.requires_grad]
            self.graphs = PackGraphs(self._compute, trained)

    # ---- one optimiser step ----

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        """Backward through this process's part of a global batch; returns its mean loss (scalar).

        Afterwards the gradients are those of the whole batch on every process.
        """
        model.train()
        supervised = inputs["supervised"]
        total = torch.zeros((), device=self.args.device)
        if self.graphs is not None:
            self.graphs.begin()
        for batch in inputs["batches"]:
            if self.graphs is None:
                total = total + self._compute(batch.to(self.args.device), supervised)
            else:
                total = total + self.graphs.run(batch, supervised)
        self.ranks.sum_gradients(model)
        loss = self.ranks.sum(total)
        self.while_the_gpu_computes()  # before the counts: it may log the last step
        self.supervised_tokens += supervised
        self.tokens += inputs["tokens"]
        self._trained = inputs["numbers"]
        return loss

    def _compute(self, batch: Pack | PaddedBatch, supervised: torch.Tensor | int) -> torch.Tensor:
        """Add a micro-batch's gradients of the loss's mean over `supervised`; returns its share."""
        noise = noisy_embeddings(self.model, batch, self.args.neftune_noise_alpha)
        with number_format(self.plan), noise:
            loss = batch_loss(self.model, batch, self.plan.head) / supervised
        self.accelerator.backward(loss)
        return loss.detach()

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval") -> dict:
        """Mean loss over a dataset's supervised tokens, by the same engine; keeps no logits."""
        dataset = eval_dataset if eval_dataset is not None else self.eval_dataset
        self.model.eval()
        total, supervised = 0.0, 0
        for start in range(0, len(dataset), self.global_batch):
            rows = [dataset[i] for i in range(start, min(start + self.global_batch, len(dataset)))]
            batch = self._cut(rows)
            for part in batch["batches"]:
                part = part.to(self.args.device)
                with torch.no_grad(), number_format(self.plan):
                    total += batch_loss(self.model, part, self.plan.head).item()
            supervised += batch["supervised"]
        total = self.ranks.sum(torch.tensor(total, dtype=torch.float64)).item()
        metrics = {f"{metric_key_prefix}_loss": total / supervised}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _collate(self, rows: list[dict]) -> dict:
        """What `training_step` gets."""
        inputs = self._cut(rows)
        if self.graphs is not None:
            inputs["batches"] = [self.graphs.fill(pack) for pack in inputs["batches"]]
        return inputs

    def _cut(self, rows: list[dict]) -> dict:
        """This process's micro-batches of a global batch, and counts of the whole batch."""
        numbers = [row["number"] for row in rows]
        share = (self.plan.token_budget, self.ranks.rank, self.ranks.count)
        if self.plan.engine == "plain":
            batches: list = pad_batch(rows, numbers, *share, one_row=self.plan.one_row)
        else:
            batches = pack_batch(rows, numbers, *share)
        return {
            "batches": batches,
            "numbers": numbers,
            "tokens": sum(len(row["input_ids"]) for row in rows),
            "supervised": sum(count_supervised(row) for row in rows),
        }

    # ---- what the Trainer asks for ----

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        """The Trainer's own, or PEFT's for LoRA+: B and vectors in groups of their own rate."""
        ratio = self.args.loraplus_lr_ratio
        if self.optimizer is None and ratio is not None:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
            rates = {"loraplus_lr_ratio": ratio, "loraplus_weight_decay": self.args.weight_decay}
            self.optimizer = create_loraplus_optimizer(self.model, kind, **options, **rates)
        return super().create_optimizer(model)

    def _get_train_sampler(self, train_dataset=None) -> Sampler:
        return SeededOrder(len(self.train_dataset), self.args.data_seed)

    def floating_point_ops(self, inputs) -> int:
        return 0  # counted in tokens, see `log`

    def log(self, logs: dict, start_time: float | None = None) -> None:
        if "loss" in logs:
            # Checked here, where the Trainer has synchronised anyway, and before it saves anything.
            self.watch.check(logs, self.state.global_step, self._trained)
            if self.watch.half:
                logs["skipped_steps"] = self.watch.skipped
            now = self.ended or time.monotonic()
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
        """Wall time of the training so far, including interrupted runs."""
        return self.seconds_before + time.monotonic() - self._started

    def _save_checkpoint(self, model, trial) -> None:
        """Write all that a resume needs to a staging folder, then rename it to a checkpoint."""
        step = self.state.global_step
        staging = self.work / f"{checkpointing.STAGING}{step}"
        if self.ranks.first:
            shutil.rmtree(staging, ignore_errors=True)
            model = self.accelerator.unwrap_model(self.model)
            save_trained(model, self.processing_class, staging, resumable=True)
            self._save_optimizer_and_scheduler(str(staging))
            self._save_scaler(str(staging))
            self.state.save_to_json(str(staging / "trainer_state.json"))
        self.ranks.wait()
        self._save_rng_state(str(self.ranks.folder(staging)))
        self.ranks.wait()
        if self.ranks.first:
            self._seal(staging, step)
        self.ranks.wait()

    def _seal(self, staging: Path, step: int) -> None:
        facts = {
            "plan": self.plan.record(),
            "checks": self.checks,
            "seconds": self.seconds,
            "tokens": self.tokens,
            "supervised_tokens": self.supervised_tokens,
            "skipped_steps": self.watch.skipped,
        }
        checkpointing.seal(staging, self.work / f"checkpoint-{step}", facts)
        checkpointing.remove_old(self.work)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            super()._load_rng_state(str(self.ranks.folder(checkpoint)))

    def fit(self) -> int:
        """Train to the end, from the newest complete checkpoint if there is one.

        Returns: the step it resumed from, 0 for a fresh start.

        Raises:
            NonFiniteLoss: at the first loss that is not a number.
            Interrupted: a signal asked to stop; the checkpoint is saved.
        """
        checkpoint = self.ranks.from_first(lambda: checkpointing.newest_checkpoint(self.work))
        if checkpoint is None:
            self._train()
            return 0
        facts = checkpointing.read_facts(checkpoint)
        self.seconds_before = facts["seconds"]
        self.tokens = self._tokens_at_log = facts["tokens"]
        self.supervised_tokens = facts["supervised_tokens"]
        self.watch.skipped = facts.get("skipped_steps", 0)
        step = checkpointing.step_of(checkpoint)
        log.info("resuming from step %d (%s)", step, checkpoint.name)
        state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        # All steps were trained, or it stopped early; only the end was interrupted.
        if step >= state.max_steps or stopped_early(state):
            self.state = state
        else:
            self._train(str(checkpoint))
        return step

    def _train(self, checkpoint: str | None = None) -> None:
        self.train(resume_from_checkpoint=checkpoint)
        step, last = self.state.global_step, self.state.max_steps
        if self._leave.received is not None and step < last:
            raise Interrupted(
                f"stopped by {self._leave.received.name} at step {step} of {last}, which is saved; "
                "the same command resumes from there"
            )

    def load_best(self) -> int:
        """Load the weights with the lowest selection loss; returns their step."""
        best = self.state.best_global_step
        self._load_from_checkpoint(str(self.work / f"checkpoint-{best}"))
        return best
