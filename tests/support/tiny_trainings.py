"""Trainings of tiny models that may be interrupted."""

import torch
from tiny_models import changed, examples, tiny_config
from transformers import TrainerCallback

from yoyak.data.llm_dataset import LLMSummarizationDataset
from yoyak.models.lora_loader import LoRALoader
from yoyak.training.llm_trainer import create_llm_trainer

LENGTHS = (23, 7, 61, 12, 38, 5, 19, 44, 30, 9, 27, 15, 33)


class Fault(Exception):
    pass


class FailAfter(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Fault


def dataset(lengths, per_dialogue=1) -> LLMSummarizationDataset:
    rows = examples(lengths)
    made = LLMSummarizationDataset.__new__(LLMSummarizationDataset)
    made.input_ids = torch.cat([row["input_ids"] for row in rows]).int()
    sizes = torch.tensor([len(row["input_ids"]) for row in rows])
    made.offsets = torch.cat([torch.zeros(1, dtype=torch.int64), sizes.cumsum(0)])
    supervised = torch.tensor([int((row["labels"] != -100).sum()) for row in rows])
    made.prompt_lengths = (sizes - supervised).int()
    made.dialogue_index = torch.arange(len(rows)).int() // per_dialogue
    made.statistics = {}
    return made


def llm_trainer(
    checkpoint, output_dir=None, *, minutes=1e-9, overwrite=False, lora=None,
    **training,
):  # fmt: skip
    """Two passes of 13 examples in batches of 4, with dropout, saving at every step."""
    config = tiny_config(checkpoint, **{"dropout": 0.05, **(lora or {})})
    values = {"epochs": 2, "batch_size": 2, "gradient_accumulation_steps": 2, "learning_rate": 1e-2}
    execution = {"token_budget": 70, "threads": 1, "checkpoint_minutes": minutes}
    config = changed(config, training=values | training, execution=execution)
    model, tokenizer = LoRALoader(config, base_weights="dequantized").load_model_and_tokenizer(
        seed=7
    )
    sets = (dataset(LENGTHS), dataset(LENGTHS[:3]))
    return create_llm_trainer(
        config, model, tokenizer, *sets, output_dir=output_dir, seed=7, overwrite=overwrite
    )
