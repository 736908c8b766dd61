"""What tests run in several processes at once: these import it anew, so it stands in a file."""

from dataclasses import replace
from pathlib import Path

import torch
from tiny_models import adapters, examples, load_adapted

from yoyak.config.training_settings import TrainingSettings
from yoyak.run.plan import Plan
from yoyak.training.arguments import quiet_libraries, training_arguments
from yoyak.training.packed_trainer import PackedTrainer
from yoyak.training.parallel import Ranks, process_group

PLAN = Plan(
    device="cpu", threads=1, compute_dtype="float32", base_weights="nf4", token_budget=2048,
    gradient_checkpointing=False, layers="own", optim="adamw_torch", predicted_bytes=0,
    available_bytes=0,
)  # fmt: skip
CASES = {
    "one pack each": (PLAN, (23, 7, 61, 12, 38, 5)),
    "many packs": (replace(PLAN, token_budget=40), (23, 7, 61, 12, 38, 5)),
    "three packs for two": (replace(PLAN, token_budget=20), (30, 25, 40)),
    "an example for one": (PLAN, (17,)),
    "dequantized and recomputed": (
        replace(PLAN, base_weights="dequantized", gradient_checkpointing=True, token_budget=64),
        (23, 7, 61, 12, 38, 5),
    ),
    "fused": (replace(PLAN, layers="fused", token_budget=64), (23, 7, 61, 12, 38, 5)),
}


class WithoutFiles(PackedTrainer):
    def _save_checkpoint(self, model, trial):
        pass


def make_trainer(folder, work, plan, lengths, ranks, steps=4, dropout=0.0, **values):
    sizes = {"batch_size": 3, "gradient_accumulation_steps": 2, "max_steps": steps}
    training = TrainingSettings(**sizes, learning_rate=1e-2, **values)
    with quiet_libraries():
        return WithoutFiles(
            load_adapted(folder, plan.base_weights, dropout), None,
            args=training_arguments(training, plan, 3, work), plan=plan,
            train_dataset=examples(lengths), selection_dataset=examples((9, 14, 33)),
            ranks=ranks,
        )  # fmt: skip


def measure(folder, work, ranks: Ranks) -> dict:
    """Loss and gradients of one batch for every case, and what four steps learn and count."""
    found = {}
    for name, (plan, lengths) in CASES.items():
        trainer = make_trainer(folder, work, plan, lengths, ranks)
        rows = [trainer.train_dataset[number] for number in range(len(lengths))]
        loss = trainer.training_step(trainer.model, trainer._collate(rows))
        found[name] = (loss.item(), gradients(trainer.model))
    trainer = make_trainer(folder, work, PLAN, tuple(range(6, 50, 4)), ranks)
    trainer.train()
    found["learned"] = {name: part.detach() for name, part in adapters(trainer.model).items()}
    found["selection"] = [row["eval_loss"] for row in history(trainer, "eval_loss")]
    found["counted"] = [trainer.tokens, trainer.supervised_tokens, trainer.state.global_step]
    found["losses"] = [row["loss"] for row in history(trainer, "loss")]
    return found


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: part.grad.clone() for name, part in adapters(model).items()}


def history(trainer, key: str) -> list[dict]:
    return [row for row in trainer.state.log_history if key in row]


def measure_together(job: tuple[Path, Path], context) -> None:
    """What each process found, to a file of its own; and first dropout masks."""
    folder, out = job
    torch.set_num_threads(1)
    with process_group(context) as ranks:
        found = measure(folder, out / f"work{context.rank}", ranks)
        trainer = make_trainer(folder, out, PLAN, (20, 30), ranks, dropout=0.2)
        found["draw"] = torch.rand(4)
        noisy = make_trainer(
            folder, out, PLAN, (20, 30, 9), ranks, neftune_noise_alpha=5, loraplus_lr_ratio=16
        )
        with torch.no_grad():
            for name, part in adapters(noisy.model).items():
                if "lora_" in name:
                    part.add_(context.rank)  # as another device's singular vectors
        ranks.share_adapters(noisy.model)
        noisy.train()
        found["noisy"] = {name: part.detach() for name, part in adapters(noisy.model).items()}
        assert trainer.ranks.largest(float(context.rank)) == context.count - 1
        assert trainer.ranks.from_first(lambda: f"said by {context.rank}") == "said by 0"
        torch.save(found, out / f"found{context.rank}")
