"""Running out of memory leaves a smaller plan and code 75; the same command goes on with it."""

import logging
import sys

import pytest
import torch
import train_llm
from test_planning import FACTS, LLAMA_3B, plan
from tiny_models import tiny_config

from yoyak.errors import UserError
from yoyak.run.planning import next_smaller
from yoyak.training.out_of_memory import forced_plan, note_plan, step_down
from yoyak.training.packed_trainer import PackedTrainer


def test_each_failure_steps_down_once(tmp_path):
    config = tiny_config("anywhere")
    first = plan()
    note_plan(tmp_path, first)
    assert forced_plan(tmp_path) is None
    second = step_down(tmp_path, config, LLAMA_3B, **FACTS)
    assert second == next_smaller(first, config, LLAMA_3B, **FACTS)
    assert forced_plan(tmp_path) == second
    note_plan(tmp_path, second)
    third = step_down(tmp_path, config, LLAMA_3B, **FACTS)
    assert third.predicted_bytes < second.predicted_bytes
    assert forced_plan(tmp_path) == third


def test_the_smallest_plan_ends_in_words(tmp_path):
    note_plan(tmp_path, plan(device="cpu"))
    with pytest.raises(UserError, match="no smaller plan is left"):
        step_down(tmp_path, tiny_config("anywhere"), LLAMA_3B, **FACTS)
    (tmp_path / "plan.json").write_text("{cut")
    with pytest.raises(UserError, match="no smaller plan is left"):
        step_down(tmp_path, tiny_config("anywhere"), LLAMA_3B, **FACTS)


def test_train_llm_leaves_with_75_and_goes_on_with_the_smaller_plan(tmp_path, monkeypatch, caplog):
    """The real command on the embedded debug study; memory runs out because the test says so."""
    monkeypatch.chdir(tmp_path)
    command = ["train_llm.py", "--experiment", "tiny_llama", "--debug", "--output-dir", "out"]
    monkeypatch.setattr(sys, "argv", command)
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("yoyak.run.planning.CPU_TOKEN_BUDGET", 900)

    def smaller_on_a_cpu(found, *_, **__):
        from dataclasses import replace

        return replace(found, token_budget=found.token_budget // 3)

    monkeypatch.setattr("yoyak.training.out_of_memory.next_smaller", smaller_on_a_cpu)
    fit = PackedTrainer.fit
    plans = []

    def failing_once(trainer):
        plans.append(trainer.plan)
        if len(plans) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return fit(trainer)

    monkeypatch.setattr(PackedTrainer, "fit", failing_once)
    with pytest.raises(SystemExit) as left:
        train_llm.main()
    assert left.value.code == 75
    assert "out of memory" in caplog.text and "smaller plan" in caplog.text
    train_llm.main()
    assert [found.token_budget for found in plans] == [900, 300]
    assert (tmp_path / "out" / "final_model" / "adapter_config.json").is_file()
