"""Loss curves of the engine and of the plain recipe on the same examples in the same order.

    python tests/benchmarks/loss_curve.py --examples results/embedded/examples/tiny_llama/chat/none

Trainings of one model: transformers' Trainer on padded batches, twice; the engine with the model's
own layers; with the fastest layers that it has for the model, in small packs; on a GPU with CUDA
graphs, where these apply. Their dropout masks differ, their data order does not. Writes
loss_curve.svg beside this file (or --output) and prints how far the curves lie from the first, and
the second plain one with them: that is what two runs of one recipe differ by.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from transformers import Trainer, TrainingArguments  # noqa: E402

from yoyak.config.loading import load_config  # noqa: E402
from yoyak.data.llm_dataset import LLMSummarizationDataset  # noqa: E402
from yoyak.models.lora_loader import LoRALoader  # noqa: E402
from yoyak.run.plan import Plan  # noqa: E402
from yoyak.training.arguments import quiet_libraries, training_arguments  # noqa: E402
from yoyak.training.order import SeededOrder  # noqa: E402
from yoyak.training.packed_trainer import PackedTrainer  # noqa: E402

BATCH, SEED = 8, 7
SCRATCH = Path(tempfile.gettempdir()) / "yoyak-curve"  # nothing is kept there
DEVICE = "cuda:0" if torch.cuda.is_available() else "cpu"
DTYPE = "bfloat16" if DEVICE != "cpu" else "float32"
# In float32 both kinds of base weights compute the same numbers; on a CPU, NF4 takes five times as
# long.
BASE = "nf4" if DEVICE != "cpu" else "dequantized"


class Plain(Trainer):
    """Padded batches in the engine's order."""

    def _get_train_sampler(self, train_dataset=None):
        return SeededOrder(len(self.train_dataset), SEED)


class Engine(PackedTrainer):
    def _save_checkpoint(self, model, trial):
        pass

    def evaluate(self, *args, **kwargs):
        return {"eval_loss": 0.0}


def pad(rows: list[dict]) -> dict:
    """Right-padded batch."""
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
    for number, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[number, :length], labels[number, :length] = row["input_ids"], row["labels"]
        mask[number, :length] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def plain_curve(config, dataset, steps, rate, seed=SEED) -> list[float]:
    model, _ = LoRALoader(
        config, device=DEVICE, base_weights=BASE, compute_dtype=DTYPE
    ).load_model_and_tokenizer(seed=SEED)
    model.get_base_model().set_attn_implementation("sdpa")
    arguments = TrainingArguments(
        output_dir=str(SCRATCH), per_device_train_batch_size=BATCH, max_steps=steps,
        learning_rate=rate, lr_scheduler_type="cosine", warmup_steps=0.1, weight_decay=0.1,
        max_grad_norm=1.2, logging_steps=1, save_strategy="no", report_to="none",
        bf16=DEVICE != "cpu", use_cpu=DEVICE == "cpu", seed=seed, remove_unused_columns=False,
        label_names=["labels"],
    )  # fmt: skip
    trainer = Plain(model=model, args=arguments, train_dataset=dataset, data_collator=pad)
    trainer.train()
    return losses(trainer)


def engine_curve(config, dataset, steps, rate, plan: Plan, work: Path) -> list[float]:
    model, _ = LoRALoader(
        config, device=DEVICE, base_weights=plan.base_weights, compute_dtype=DTYPE
    ).load_model_and_tokenizer(seed=SEED)
    changes = {
        "batch_size": BATCH, "gradient_accumulation_steps": 1, "max_steps": steps,
        "learning_rate": rate,
    }  # fmt: skip
    training = config.training.model_copy(update=changes)
    trainer = Engine(
        model, None, plan=plan, train_dataset=dataset, selection_dataset=dataset,
        args=training_arguments(training, plan, SEED, work, evaluate_every=10**6),
    )  # fmt: skip
    trainer.train()
    return losses(trainer)


def losses(trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def draw(curves: dict[str, list[float]], title: str, file: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "yoyak"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for (name, curve), style in zip(curves.items(), ("-", "-", "--", ":", "-."), strict=False):
        axes.plot(range(1, len(curve) + 1), curve, style, linewidth=1.2, label=name)
    axes.set(xlabel="optimiser step", ylabel="training loss", title=title)
    axes.legend()
    figure.savefig(file, bbox_inches="tight", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--experiment", default="tiny_llama")
    parser.add_argument("--examples", type=Path, required=True, help="folder of build_dataset.py")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".svg"))
    args = parser.parse_args()
    config = load_config(args.experiment)
    dataset = LLMSummarizationDataset.load(args.examples / "train.safetensors")
    plan = Plan(
        device=DEVICE, threads=torch.get_num_threads(), compute_dtype=DTYPE,
        base_weights="dequantized", token_budget=4096, gradient_checkpointing=False, layers="own",
        optim="adamw_torch", predicted_bytes=0, available_bytes=0,
    )  # fmt: skip
    fused = LoRALoader(config).decoder.shape.fusable
    fast = replace(plan, layers="fused" if fused else "compiled")
    packs = replace(fast, token_budget=700, base_weights=BASE)
    run = (config, dataset, args.steps, args.rate)
    kinds = {
        "plain: transformers' Trainer, padded": lambda: plain_curve(*run),
        "plain, other dropout": lambda: plain_curve(*run, seed=SEED + 1),
        "engine: own layers, one pack a step": lambda: engine_curve(*run, plan, SCRATCH),
        f"engine: {fast.layers} layers, packs of 700": lambda: engine_curve(*run, packs, SCRATCH),
    }
    if fused and DEVICE != "cpu":
        graphs = replace(fast, graphs=True)
        kinds["engine: CUDA graphs, one pack a step"] = lambda: engine_curve(*run, graphs, SCRATCH)
    curves = {}
    with quiet_libraries():
        for name, curve in kinds.items():
            started = time.perf_counter()
            curves[name] = curve()
            print(f"{name}: {time.perf_counter() - started:.1f} s, loading included", flush=True)
    plain, *others = (np.array(curve) for curve in curves.values())
    for name, other in zip(list(curves)[1:], others, strict=True):
        apart = np.abs(other - plain)
        print(
            f"{name}: mean distance {apart.mean():.4f}, largest {apart.max():.4f}, last 20 steps "
            f"{other[-20:].mean():.4f} against {plain[-20:].mean():.4f}"
        )
    print(f"step to step the plain loss moves by {np.abs(np.diff(plain)).mean():.4f}")
    title = f"{args.experiment}, {args.steps} steps of {BATCH} examples, dropout 0.05, {DEVICE}"
    draw(curves, title, args.output)


if __name__ == "__main__":
    main()
