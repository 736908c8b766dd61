"""PackedTrainer on a tiny real NF4 model: what stops it, what it counts, what any plan learns."""

import time
from dataclasses import replace

import pytest
import torch
from tiny_models import adapters, examples, load_adapted, write_checkpoint

from yoyak.config.training_settings import TrainingSettings
from yoyak.run.plan import Plan
from yoyak.training.arguments import quiet_libraries, training_arguments
from yoyak.training.overflow import NonFiniteLoss, OverflowWatch
from yoyak.training.packed_trainer import PackedTrainer

PLAN = Plan(
    device="cpu", threads=1, compute_dtype="float32", base_weights="nf4", token_budget=2048,
    gradient_checkpointing=False, layers="own", optim="adamw_torch", predicted_bytes=0,
    available_bytes=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("model"), "llama")


class WithoutFiles(PackedTrainer):
    """The trainer without its checkpoints, which have tests of their own."""

    def _save_checkpoint(self, model, trial):
        pass


def make_trainer(folder, work, plan=PLAN, steps=3, rate=1e-3):
    sizes = {"batch_size": 2, "gradient_accumulation_steps": 2, "max_steps": steps}
    training = TrainingSettings(**sizes, learning_rate=rate)
    attention = "sdpa" if plan.engine == "plain" else None
    with quiet_libraries():
        return WithoutFiles(
            load_adapted(folder, plan.base_weights, attention=attention), None,
            args=training_arguments(training, plan, 3, work), plan=plan,
            train_dataset=examples(tuple(range(6, 50, 4))), selection_dataset=examples((9, 14)),
        )  # fmt: skip


@pytest.mark.parametrize("overlaps", [False, True])
def test_a_loss_that_is_no_number_stops_with_step_examples_and_cure(folder, tmp_path, overlaps):
    trainer = make_trainer(folder, tmp_path)
    trainer.overlaps = overlaps
    with torch.no_grad():
        next(iter(adapters(trainer.model).values())).fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match=r"became nan at step 1 \(examples \d+, .*lower"):
        trainer.train()


def test_a_gradient_norm_that_is_no_number_stops_too():
    with pytest.raises(NonFiniteLoss, match=r"norm became inf at step 3 .*lower training"):
        OverflowWatch("bfloat16").check({"loss": 1.0, "grad_norm": float("inf")}, 3, [1])


def test_skipped_steps_are_counted_and_ten_in_a_row_stop():
    """What a float16 scaler does on a GPU: the step is left out and its norm is infinite."""
    watch, overflow = OverflowWatch("float16", skipped=2), {"loss": 1.0, "grad_norm": float("inf")}
    for step in range(9):
        watch.check(overflow, step, [0])
    watch.check({"loss": 1.0, "grad_norm": 0.5}, 9, [0])
    for step in range(10, 19):
        watch.check(overflow, step, [0])
    assert watch.skipped == 20
    with pytest.raises(NonFiniteLoss, match="10 times in a row.*model.dtype: bf16"):
        watch.check(overflow, 19, [0])


def test_any_plan_learns_the_same(folder, tmp_path):
    plans = (
        PLAN,
        replace(PLAN, token_budget=20, base_weights="dequantized"),
        replace(PLAN, layers="fused", gradient_checkpointing=True),
        replace(PLAN, token_budget=60, engine="plain"),
        replace(PLAN, engine="plain", one_row=True, gradient_checkpointing=True),
        replace(PLAN, head="model"),
    )
    learned, counted = [], []
    for plan in plans:
        trainer = make_trainer(folder, tmp_path, plan)
        trainer.train()
        learned.append(
            torch.cat([part.detach().flatten() for part in adapters(trainer.model).values()])
        )
        counted.append((trainer.tokens, trainer.supervised_tokens, trainer.state.global_step))
    assert counted[0] == counted[1] == counted[2]
    for other in learned[1:]:
        assert torch.allclose(other, learned[0], atol=2e-5)


def test_every_step_is_logged_with_tokens_and_loss(folder, tmp_path):
    trainer = make_trainer(folder, tmp_path)
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert rows[-1]["supervised_tokens"] == trainer.supervised_tokens
    assert all(row["tokens_per_second"] > 0 for row in rows)


def test_evaluation_is_the_mean_over_supervised_tokens(folder, tmp_path):
    from yoyak.data.packing import build_pack
    from yoyak.training.loss import batch_loss

    trainer = make_trainer(folder, tmp_path, replace(PLAN, token_budget=9))
    trainer.control.should_training_stop = True
    pack = build_pack(examples((9, 14)), [0, 1])
    trainer.model.eval()
    with torch.no_grad():
        expected = batch_loss(trainer.model, pack).item() / len(pack.targets)
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)


def test_overlapped_steps_are_the_same_steps(folder, tmp_path):
    """On a GPU batches are packed and numbers logged during the next step; forced on the CPU."""
    orders, logged, learned = [], [], []
    for overlaps in (False, True):
        trainer = make_trainer(folder, tmp_path, steps=7)
        trainer.overlaps = overlaps
        seen, step = [], trainer.training_step
        trainer.training_step = lambda *a, step=step, seen=seen, t=trainer: (
            step(*a), seen.append(tuple(t._trained))
        )[0]  # fmt: skip
        trainer.train()
        orders.append(seen)
        for row in trainer.state.log_history:
            for timed in ("tokens_per_second", *(key for key in row if key.startswith("train_"))):
                row.pop(timed, None)
        logged.append(trainer.state.log_history)
        learned.append(adapters(trainer.model))
    assert orders[0] == orders[1] and len(orders[0]) == 7
    assert logged[0] == logged[1]
    assert [row["step"] for row in logged[1] if "loss" in row] == [1, 2, 3, 4, 5, 6, 7]
    assert sum("eval_loss" in row for row in logged[1]) == 3
    assert all(torch.equal(learned[0][name], learned[1][name]) for name in learned[0])


def test_a_step_that_is_logged_late_has_its_own_speed(folder, tmp_path):
    """The last step is logged right after the one before it, which was held."""
    trainer = make_trainer(folder, tmp_path, steps=6)
    trainer.overlaps = True
    step, tokens = trainer.training_step, []

    def slowly(*arguments):
        time.sleep(0.1)
        before = trainer.tokens
        loss = step(*arguments)
        tokens.append(trainer.tokens - before)
        return loss

    trainer.training_step = slowly
    trainer.train()
    rows = [row for row in trainer.state.log_history if "loss" in row]
    seconds = [count / row["tokens_per_second"] for count, row in zip(tokens, rows, strict=True)]
    assert min(seconds) > 0.09, seconds
