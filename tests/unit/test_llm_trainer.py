"""LLMTrainer: interrupted and resumed, it ends byte for byte where the undisturbed one ends."""

import json
import os
import signal
from pathlib import Path

import pytest
from tiny_models import changed, tiny_config, write_checkpoint
from tiny_trainings import LENGTHS, FailAfter, Fault, dataset, llm_trainer
from transformers import TrainerCallback

from yoyak.config.training_settings import TrainingSettings
from yoyak.errors import UserError
from yoyak.models.lora_loader import load_lora_model_and_tokenizer
from yoyak.models.saving import save_trained
from yoyak.training.checkpointing import newest_checkpoint, read_facts
from yoyak.training.interruption import Interrupted
from yoyak.training.llm_trainer import create_llm_trainer
from yoyak.training.outputs import merge_by_step, summary, write_outputs
from yoyak.training.plans import steps_between_evaluations


class SignalAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step - 1:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), "llama")


def trainer(checkpoint, work: Path, **settings):
    """The Trainer that LLMTrainer holds, its checkpoints in `work`."""
    made = llm_trainer(checkpoint, **settings)
    made.work = work
    return made._create_trainer()


def finish(made, folder: Path) -> bytes:
    made.load_best()
    save_trained(made.model, made.processing_class, folder)
    return (folder / "adapter_model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    made = trainer(checkpoint, folder / "work", minutes=1000)
    assert made.fit() == 0
    return made.state, finish(made, folder / "final")


@pytest.mark.parametrize("step", [1, 3, 4, 6, 8])  # mid-epoch, an epoch's end, the very end
def test_resumed_equals_undisturbed(checkpoint, tmp_path, undisturbed, step):
    state, expected = undisturbed
    broken = trainer(checkpoint, tmp_path / "work")
    broken.add_callback(FailAfter(step))
    with pytest.raises(Fault):
        broken.fit()
    resumed = trainer(checkpoint, tmp_path / "work")
    assert resumed.fit() == step - 1  # the fault struck before step `step` could be saved
    assert finish(resumed, tmp_path / "final") == expected
    assert [row.get("loss") for row in merge_by_step(resumed.state.log_history)] == [
        row.get("loss") for row in merge_by_step(state.log_history)
    ]
    assert resumed.supervised_tokens == 2 * dataset(LENGTHS).supervised_tokens


@pytest.mark.parametrize("step", [2, 4])
def test_sigterm_saves_and_leaves(checkpoint, tmp_path, undisturbed, step):
    state, expected = undisturbed
    stopped = trainer(checkpoint, tmp_path / "work", minutes=1000)
    stopped.add_callback(SignalAt(step))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match=f"SIGTERM at step {step} of 8"):
        stopped.fit()
    assert signal.getsignal(signal.SIGTERM) == before
    resumed = trainer(checkpoint, tmp_path / "work", minutes=1000)
    assert resumed.fit() == step
    assert finish(resumed, tmp_path / "final") == expected
    assert len(resumed.state.log_history) == len(state.log_history)


# Too small for any number to change: nothing gets better, on any processor.
IDLE = {"learning_rate": 1e-30, "lr_scheduler_type": "constant", "warmup_ratio": 0.0, "epochs": 9}


def test_patience_ends_a_training_and_counts_on_after_a_fault(checkpoint, tmp_path):
    settings = {**IDLE, "early_stopping_patience": 2}
    stopped = trainer(checkpoint, tmp_path / "work", minutes=1000, **settings)
    stopped.fit()
    state, expected = stopped.state, finish(stopped, tmp_path / "final")
    evaluated = [row["eval_loss"] for row in state.log_history if "eval_loss" in row]
    assert len(set(evaluated)) == 1 and len(evaluated) == 3 and state.global_step == 12
    found = summary(stopped)
    assert (found["stopped_early_at_epoch"], found["best_step"]) == (3, 4)
    last = state.global_step
    for number, step in enumerate((last - 4, last - 2)):  # behind the first bad evaluation
        work = tmp_path / f"work{number}"
        broken = trainer(checkpoint, work, **settings)
        broken.add_callback(FailAfter(step))
        with pytest.raises(Fault):
            broken.fit()
        resumed = trainer(checkpoint, work, minutes=1000, **settings)
        assert resumed.fit() == step - 1 and resumed.state.global_step == last
        assert finish(resumed, tmp_path / f"final{number}") == expected
    again = trainer(checkpoint, work, minutes=1000, **settings)
    assert again.fit() == last  # only its end was cut off: not a step more
    assert finish(again, tmp_path / "again") == expected


def test_train_goes_on_and_leaves_only_results(checkpoint, tmp_path, undisturbed, caplog):
    """Of checkpoints in its output folder, those of this very training."""
    state, expected = undisturbed
    for rate in (1e-2, 2e-2):
        broken = llm_trainer(checkpoint, tmp_path, learning_rate=rate)
        create = broken._create_trainer

        def failing(create=create):
            made = create()
            made.add_callback(FailAfter(5))
            return made

        broken._create_trainer = failing
        with pytest.raises(Fault):
            broken.train()
        assert broken.resumed_from == 0  # the checkpoints of another rate are not its own
    resumed = llm_trainer(checkpoint, tmp_path)
    assert "only 8 optimiser steps" in caplog.text
    results = resumed.train()
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    assert resumed.summary()["loss_fall"] == 1 - losses[-1] / losses[0]
    assert resumed.summary()["warnings"][0].startswith("only 8 optimiser steps")
    assert resumed.resumed_from == 4
    assert (results["final_model"] / "adapter_model.safetensors").read_bytes() == expected
    assert (results["eval_loss"], results["best_step"]) == (
        state.best_metric,
        state.best_global_step,
    )
    assert not list((tmp_path / ".work").rglob("checkpoint-*"))


def test_a_finished_training_is_replaced_by_an_equal_one_only(checkpoint, tmp_path, undisturbed):
    def again(**settings):
        return llm_trainer(checkpoint, tmp_path, minutes=1000, **settings)

    adapter = tmp_path / "final_model" / "adapter_model.safetensors"
    for _ in range(2):
        again().train()
        record = json.loads((tmp_path / "run.json").read_text())
        assert (record["step"], record["steps"], record["run"]["seed"]) == ("train", 8, 7)
        assert record["settings"]["training"]["learning_rate"] == 1e-2
        assert adapter.read_bytes() == undisturbed[1]
    told = "another kind .training.learning_rate is 0.01 there and 0.02 here.; .* overwrite=True$"
    with pytest.raises(UserError, match=told):
        again(learning_rate=2e-2).train()
    other = again()
    other.eval_dataset = dataset(LENGTHS[:4])
    with pytest.raises(UserError, match=r"eval_dataset is SHA-256 \w+… there and SHA-256"):
        other.train()
    assert adapter.read_bytes() == undisturbed[1]
    again(learning_rate=2e-2, overwrite=True).train()
    assert adapter.read_bytes() != undisturbed[1]
    trained = llm_trainer(checkpoint, tmp_path / "another")
    trained.train()
    with pytest.raises(UserError, match="trained before.* load it again"):
        trained.train()
    (tmp_path / "run.json").unlink()
    with pytest.raises(UserError, match=r"run\.json does not say how it was trained; name"):
        again(learning_rate=2e-2).train()


def test_what_a_program_cannot_have_is_one_line(checkpoint):
    made = llm_trainer(checkpoint)
    with pytest.raises(UserError, match="^eval_dataset: its summaries are not kept"):
        made.evaluate(rouge=True)
    shared = changed(made.config, execution={"devices": 2})
    with pytest.raises(UserError, match=r"^execution.devices: 2 .* train_llm.py --devices 2"):
        load_lora_model_and_tokenizer(shared)
    with pytest.raises(UserError, match="^execution.devices: 2"):
        create_llm_trainer(shared, made.model, made.tokenizer, dataset(LENGTHS), dataset(LENGTHS))


def test_what_are_no_examples_is_refused(checkpoint):
    config = tiny_config(checkpoint)
    with pytest.raises(UserError, match="eval_dataset: found NoneType, wanted examples of"):
        create_llm_trainer(config, None, None, dataset(LENGTHS), None)


def test_finished_but_not_written(checkpoint, tmp_path, undisturbed):
    """Killed after the last step, before the outputs: nothing is trained again."""
    made = trainer(checkpoint, tmp_path / "work")
    made.fit()
    again = trainer(checkpoint, tmp_path / "work")
    assert again.fit() == 8
    assert finish(again, tmp_path / "final") == undisturbed[1]
    write_outputs(again, tmp_path / "out")
    lines = (tmp_path / "out" / "training_log.csv").read_text().splitlines()
    assert len(lines) == 1 + 8
    assert summary(again)["steps"] == 8


def test_checkpoints_are_bounded_and_keep_the_plan(checkpoint, tmp_path):
    made = trainer(checkpoint, tmp_path / "work")
    made.fit()
    kept = {path.name for path in (tmp_path / "work").glob("checkpoint-*")}
    assert {"checkpoint-8", "checkpoint-7"} <= kept  # the newest, and one to fall back on
    assert len(kept) <= 4  # and the best one of each
    newest = newest_checkpoint(tmp_path / "work")
    assert read_facts(newest)["plan"] == made.plan.record()
    assert not list((tmp_path / "work").rglob("training_args.bin"))  # no pickles of our own


def test_order_is_the_seeds(checkpoint, tmp_path):
    made = trainer(checkpoint, tmp_path / "work")
    sampler = made._get_train_sampler()
    first = list(sampler)
    sampler.set_epoch(1)
    assert sorted(first) == list(range(len(LENGTHS))) != first
    assert list(sampler) != first


def test_equal_steps_are_evaluated_equally_often():
    training = TrainingSettings(batch_size=2, gradient_accumulation_steps=2, max_steps=20)
    assert steps_between_evaluations(training, dataset(LENGTHS)) == 4
    five_each = dataset(LENGTHS * 5, per_dialogue=5)
    assert steps_between_evaluations(training, five_each) == 4
    by_epochs = training.model_copy(update={"max_steps": None})
    assert steps_between_evaluations(by_epochs, five_each) is None


def test_fewer_steps_than_an_epoch(checkpoint, tmp_path):
    made = trainer(checkpoint, tmp_path / "work", minutes=1000, max_steps=2)
    made.fit()
    evaluations = [entry for entry in made.state.log_history if "eval_loss" in entry]
    assert made.state.global_step == 2 and len(evaluations) == 1
    assert json.loads(json.dumps(summary(made)))["best_step"] == 2
