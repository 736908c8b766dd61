"""Training speed and memory on one GPU, random weights of the true shapes.

    python tests/benchmarks/training.py [--only NAME …] [--profile]

Needs a CUDA GPU, bitsandbytes and the project's Python packages, no network and no checkpoint.
Prints a table: useful tokens/s (tokens of examples, no padding), peak memory, share of the card's
limit, ratio to the plain recipe. results/ keeps what was measured.
"""

import argparse
import contextlib
import gc
import json
import math
import os
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

import torch  # noqa: E402
from random_models import build  # noqa: E402
from shapes import SHAPES, rows  # noqa: E402
from training_runs import RUNS, Run  # noqa: E402
from training_table import table  # noqa: E402
from transformers import (  # noqa: E402
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from yoyak.models.attention import PACKED  # noqa: E402
from yoyak.run.memory import ModelShape, operations, predict_bytes  # noqa: E402
from yoyak.run.plan import Plan  # noqa: E402
from yoyak.training.arguments import quiet_libraries, training_arguments  # noqa: E402
from yoyak.training.packed_trainer import PackedTrainer  # noqa: E402

SCRATCH = Path(tempfile.gettempdir()) / "yoyak-benchmark"  # nothing is kept there
TERAFLOPS = 790e12  # bf16 products on an H200, measured on random data


class Clock(TrainerCallback):
    """When the GPU was done with each optimiser step; nothing waits for it."""

    def __init__(self):
        self.marks = [self._mark()]

    def on_step_end(self, args, state, control, **kwargs):
        self.marks.append(self._mark())

    def seconds(self, first: int, last: int = -1) -> float:
        """From the end of step `first` (0: the beginning) to that of `last`, all between it."""
        torch.cuda.synchronize()
        return self.marks[first].elapsed_time(self.marks[last]) / 1000

    @staticmethod
    def _mark() -> torch.cuda.Event:
        mark = torch.cuda.Event(enable_timing=True)
        mark.record()
        return mark


class Engine(PackedTrainer):
    """PackedTrainer that counts tokens a step and keeps no checkpoint."""

    fullest = 0

    def _save_checkpoint(self, model, trial):
        pass

    def training_step(self, *args, **kwargs):
        before = self.tokens
        self.fullest = max(self.fullest, *(pack.tokens for pack in args[1]["batches"]))
        result = super().training_step(*args, **kwargs)
        self.counts = [*getattr(self, "counts", []), self.tokens - before]
        return result


def run_engine(run: Run, profile=False, dora=False, dropout=None):
    name, steps = run.model, run.warm + run.steps
    model, config = build(name, run.base_weights, PACKED, dora, dropout)
    shape = ModelShape.from_config(SHAPES[name])
    choices = {
        "base_weights": run.base_weights, "token_budget": run.budget,
        "gradient_checkpointing": run.recompute, "layers": run.layers, "graphs": run.graphs,
    }  # fmt: skip
    plan = Plan(
        device="cuda:0", threads=8, compute_dtype=config.model.compute_dtype,
        optim="adamw_torch_fused", predicted_bytes=0, available_bytes=0, **choices,
    )  # fmt: skip
    total = torch.cuda.get_device_properties(0).total_memory
    if run.cap:
        torch.cuda.set_per_process_memory_fraction(run.cap * 1e9 / total)
    training = config.training.model_copy(update={"max_steps": steps})
    batch = training.batch_size * training.gradient_accumulation_steps
    trainer = Engine(
        model, None, plan=plan,
        args=training_arguments(training, plan, 1, SCRATCH, evaluate_every=10**6),
        train_dataset=rows(batch * steps, SHAPES[name].vocab_size),
        selection_dataset=rows(2, SHAPES[name].vocab_size),
    )  # fmt: skip
    clock = Clock()
    trainer.add_callback(clock)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    with contextlib.redirect_stdout(None):
        trainer.train()
    if run.cap:
        torch.cuda.set_per_process_memory_fraction(1.0)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert all(map(math.isfinite, losses)), losses
    speed = sum(trainer.counts[run.warm :]) / clock.seconds(run.warm)
    if profile:
        show_profile(trainer, batch, SHAPES[name].vocab_size)
    choices["token_budget"] = trainer.fullest
    predicted = predict_bytes(shape, lora_rank=16, use_qlora=True, dora=dora, **choices)
    result = {
        "tokens_per_second": speed,
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9,
        "reserved_gb": torch.cuda.max_memory_reserved() / 1e9,
        "predicted_gb": predicted / 1e9,
        "share": speed * operations(shape, 16, run.recompute) / TERAFLOPS,
        "first_step_seconds": clock.seconds(0, 1),
        "loss": [round(loss, 3) for loss in losses[:3]],
        "layers": run.layers + (", graphs" if run.graphs else ""),
        "fullest_pack": trainer.fullest,
    }
    del model, trainer
    return result


def show_profile(trainer, batch, vocabulary) -> None:
    """The costliest GPU kernels of one optimiser step."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    inputs = trainer._collate(
        [row | {"number": i} for i, row in enumerate(rows(batch, vocabulary, 9))]
    )
    with record(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as recorded:
        trainer.training_step(trainer.model, inputs)
        torch.cuda.synchronize()
    table = recorded.key_averages().table(
        sort_by="self_cuda_time_total", row_limit=32, max_name_column_width=70
    )
    keep = [line[:72] + line[-95:] for line in table.splitlines() if "%" in line or "otal" in line]
    print("\n".join(keep))


def run_plain(name="llama_3.2_3b", batch=8, accumulation=2, steps=3):
    """What one would write with transformers and PEFT alone: padded batches, full logits."""
    model, config = build(name, "nf4", "sdpa")
    pad = 0

    def collate(batch_rows):
        longest = max(len(row["input_ids"]) for row in batch_rows)
        size = (len(batch_rows), longest)
        ids, mask = torch.full(size, pad), torch.zeros(size, dtype=torch.long)
        labels = torch.full(size, -100)
        for number, row in enumerate(batch_rows):
            length = len(row["input_ids"])
            ids[number, :length], labels[number, :length] = row["input_ids"], row["labels"]
            mask[number, :length] = 1
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    data = rows(batch * accumulation * steps, SHAPES[name].vocab_size)
    model.enable_input_require_grads()
    trainer = Trainer(
        model=model, train_dataset=data, data_collator=collate,
        args=TrainingArguments(
            output_dir=str(SCRATCH), per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation, max_steps=steps, bf16=True,
            gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": False},
            save_strategy="no", report_to="none", logging_steps=1, max_grad_norm=1.2,
            learning_rate=2e-5, remove_unused_columns=False, label_names=["labels"],
        ),
    )  # fmt: skip
    clock = Clock()
    trainer.add_callback(clock)
    torch.cuda.reset_peak_memory_stats()
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert all(map(math.isfinite, losses)), losses
    order = [row for row in iter(trainer.get_train_dataloader())]
    tokens = sum(int(part["attention_mask"].sum()) for part in order) / steps
    return {
        "tokens_per_second": tokens / (clock.seconds(1) / (steps - 1)),
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9,
        "reserved_gb": torch.cuda.max_memory_reserved() / 1e9,
        "loss": [round(loss, 3) for loss in losses],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="*", default=["plain", *RUNS])
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--dora", action="store_true", help="with PEFT's DoRA in place of LoRA")
    parser.add_argument("--dropout", type=float, help="of the adapters, instead of the settings'")
    parser.add_argument("--budget", type=int, help="token budget instead of the table's")
    parser.add_argument("--output", type=Path, help="also write the figures there, as JSON")
    arguments = parser.parse_args()
    results: dict[str, dict] = {}
    record = {
        "gpu": torch.cuda.get_device_name(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": {name: version(name) for name in ("torch", "triton", "transformers", "peft")},
        "options": {name: getattr(arguments, name) for name in ("budget", "dropout", "dora")},
        "runs": results,
    }
    with quiet_libraries():
        for name in arguments.only:
            started = time.monotonic()
            try:
                if name == "plain":
                    results[name] = run_plain()
                else:
                    run = replace(RUNS[name], budget=arguments.budget or RUNS[name].budget)
                    results[name] = run_engine(
                        run, arguments.profile, arguments.dora, arguments.dropout
                    )
            except torch.OutOfMemoryError as error:
                results[name] = {"out_of_memory": str(error).split(". ")[0]}
            gc.collect()
            torch.cuda.empty_cache()
            results[name]["wall_seconds"] = time.monotonic() - started
            print(name, json.dumps(results[name]), flush=True)
            if arguments.output:
                text = json.dumps(record, indent=1) + "\n"
                arguments.output.write_text(text, encoding="utf-8")
    print(table([record]))


if __name__ == "__main__":
    main()
