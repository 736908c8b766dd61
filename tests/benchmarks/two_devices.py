"""One training on one device and on two of the same host: speed, and whether it learns the same.

    python tests/benchmarks/two_devices.py [--shapes 1b 3b]       # two NVIDIA GPUs, no network
    python tests/benchmarks/two_devices.py --device cpu --shapes tiny     # the same path by gloo

Random weights of the true shapes, LoRA r=16 on all projections, a global batch of 64 examples with
the lengths of the real data. Speed: dropout 0.05, packs as a plan would cut them. Difference: no
dropout and the same packs for one device and two, so that only the order of additions differs;
beside it the difference between two runs on one device, since attention's backward pass adds in no
fixed order. Both are ‖a − b‖ / ‖b‖ over all LoRA factors: of the first step's gradients, and of the
change of the parameters after the last step.
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
os.environ.setdefault("NCCL_NVLS_ENABLE", "0")  # multicast gains nothing for 0.1 GB a step
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts")]

from yoyak.run.devices import claim_devices  # noqa: E402
from yoyak.run.ranks import RankContext, run_ranks  # noqa: E402

BATCH, WARM = 64, 2
SIZES = {  # hidden, intermediate, layers, heads, KV heads, head_dim, vocabulary
    "1b": (2048, 8192, 16, 32, 8, 64, 128_256),
    "3b": (3072, 8192, 28, 24, 8, 128, 128_256),
    "tiny": (64, 192, 2, 4, 2, 16, 160),
}
SPEED_BUDGET = {"1b": 32_768, "3b": 16_384, "tiny": 32_768}  # 3b: fits 80 GB on one device, too
SAME_BUDGET = 12_288  # tokens: two packs of a batch, on one device as on two
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Job:
    shape: str
    steps: int
    folder: Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", default=["1b"], choices=list(SIZES))
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--steps", type=int, default=8, help="of the speed run, two to warm up")
    parser.add_argument("--output", type=Path, help="also write the figures there, as JSON")
    args = parser.parse_args()
    results = {}
    with claim_devices(args.device, 2) as devices, tempfile.TemporaryDirectory() as name:
        for shape in args.shapes:
            job = Job(shape, args.steps, Path(name))
            started = time.monotonic()
            run_ranks(measure, job, list(devices[:1]))
            run_ranks(measure, job, devices)
            results[shape] = compare(job) | {"wall_seconds": time.monotonic() - started}
            print(shape, json.dumps(results[shape]), flush=True)
    print_table(results)
    if args.output:
        args.output.write_text(json.dumps(results, indent=1), encoding="utf-8")


def measure(job: Job, context: RankContext) -> None:
    """All runs of one number of devices, in one of its processes."""
    import torch

    from yoyak.training.arguments import quiet_libraries
    from yoyak.training.parallel import process_group

    torch.set_num_threads(8 if context.device.startswith("cuda") else 1)
    with process_group(context) as ranks, quiet_libraries():
        began = time.monotonic()
        found = {"device": name_of(context.device), "versions": versions()}
        for run in ("same", "again") if context.count == 1 else ("same",):
            trainer, start = train(job, context, ranks, SAME_BUDGET, dropout=0.0, steps=3)
            if ranks.first:
                learned = {name: part.detach().cpu() for name, part in factors(trainer.model)}
                change = {name: part - start[name] for name, part in learned.items()}
                torch.save(
                    (trainer.first, change), job.folder / f"{job.shape}-{context.count}-{run}"
                )
                found[f"losses_{run}"] = losses(trainer)
            release(trainer)
            del trainer
        reset_peak(context.device)
        trainer, _ = train(job, context, ranks, SPEED_BUDGET[job.shape], 0.05, job.steps)
        seconds = trainer.ends[-1] - trainer.ends[WARM - 1]
        found |= {
            "tokens_per_second": sum(trainer.counts[WARM:]) / seconds,
            "step_seconds": seconds / (job.steps - WARM),
            "tokens_a_step": sum(trainer.counts[WARM:]) / (job.steps - WARM),
            "peak_gb": ranks.largest(peak_gb(context.device)),
            "seconds_after_imports": time.monotonic() - began,
        }
        assert all(map(math.isfinite, losses(trainer))), losses(trainer)
        if ranks.first:
            file = job.folder / f"{job.shape}-{context.count}.json"
            file.write_text(json.dumps(found), encoding="utf-8")


def train(job: Job, context: RankContext, ranks, budget: int, dropout: float, steps: int):
    """A finished trainer, and the LoRA factors that it started from, on the CPU."""
    import torch
    from shapes import rows
    from transformers import TrainerCallback

    from yoyak.config.loading import load_config
    from yoyak.run.plan import Plan
    from yoyak.training.arguments import training_arguments
    from yoyak.training.packed_trainer import PackedTrainer
    from yoyak.training.progress import show_progress

    class Measured(PackedTrainer):
        """Keeps the first gradients, tokens and times of each step, and no checkpoint."""

        first, counts, ends = None, (), ()

        def _save_checkpoint(self, model, trial):
            pass

        def training_step(self, *args, **kwargs):
            before = self.tokens
            loss = super().training_step(*args, **kwargs)
            self.counts = (*self.counts, self.tokens - before)
            if self.first is None:
                self.first = {name: part.grad.cpu().clone() for name, part in factors(self.model)}
            return loss

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if context.device.startswith("cuda"):
                torch.cuda.synchronize()
            trainer.ends = (*trainer.ends, time.perf_counter())

    cuda = context.device.startswith("cuda")
    model = build(job.shape, context.device, dropout)
    start = {name: part.detach().cpu().clone() for name, part in factors(model)}
    plan = Plan(
        device=context.device, devices=context.count, threads=torch.get_num_threads(),
        compute_dtype="bfloat16" if cuda else "float32", base_weights="dequantized",
        token_budget=budget, gradient_checkpointing=False, layers="fused",
        optim="adamw_torch_fused" if cuda else "adamw_torch", predicted_bytes=0, available_bytes=0,
    )  # fmt: skip
    few = {"max_steps": steps, "learning_rate": 2e-4, "warmup_ratio": 0.0}
    training = load_config("llama_3.2_3b").training.model_copy(update=few)
    vocabulary = SIZES[job.shape][-1]
    trainer = Measured(
        model, None, plan=plan,
        args=training_arguments(training, plan, 1, job.folder / "work", evaluate_every=10**6),
        train_dataset=rows(BATCH * steps, vocabulary),
        selection_dataset=rows(2, vocabulary), ranks=ranks,
    )  # fmt: skip
    show_progress(trainer, silent=True)
    trainer.add_callback(Clock())
    trainer.train()
    return trainer, start


def build(shape: str, device: str, dropout: float):
    """Random weights and random LoRA factors, B too: the same in every process."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, LlamaConfig

    from yoyak.models.attention import PACKED

    hidden, inner, layers, heads, kv_heads, dim, vocabulary = SIZES[shape]
    config = LlamaConfig(
        hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=dim,
        vocab_size=vocabulary, tie_word_embeddings=True, max_position_embeddings=8192,
    )  # fmt: skip
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if device.startswith("cuda") else torch.float32)
    try:
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(config, attn_implementation=PACKED)
    finally:
        torch.set_default_dtype(torch.float32)
    model.config.use_cache = False
    model.requires_grad_(False)
    adapters = LoraConfig(
        r=16, lora_alpha=32, lora_dropout=dropout, target_modules=list(PROJECTIONS),
        task_type="CAUSAL_LM",
    )  # fmt: skip
    model = get_peft_model(model, adapters)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for name, part in factors(model):
            if "lora_B" in name:
                part.copy_(torch.randn(part.shape, generator=generator) * 0.01)
    return model


def factors(model) -> list:
    """(name, parameter) of every LoRA factor, in one order."""
    return sorted((name, part) for name, part in model.named_parameters() if part.requires_grad)


def compare(job: Job) -> dict:
    """The figures of both numbers of devices, and how far their gradients and changes lie apart."""
    import torch

    one, two = (
        json.loads((job.folder / f"{job.shape}-{count}.json").read_text()) for count in (1, 2)
    )
    kept = {
        run: torch.load(job.folder / f"{job.shape}-{run}", weights_only=True)
        for run in ("1-same", "1-again", "2-same")
    }
    found = {"one": one, "two": two, "speedup": two["tokens_per_second"] / one["tokens_per_second"]}
    for place, what in enumerate(("gradients", "changes")):
        floor = distance(kept["1-again"][place], kept["1-same"][place])
        apart = distance(kept["2-same"][place], kept["1-same"][place])
        found[what] = {"one_again": floor, "two_against_one": apart}
    return found


def distance(left: dict, right: dict) -> float:
    """‖left − right‖ / ‖right‖ over all parts."""
    off = sum((left[name].double() - part.double()).pow(2).sum() for name, part in right.items())
    return math.sqrt(off / sum(part.double().pow(2).sum() for part in right.values()))


def losses(trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def release(trainer) -> None:
    """Let go of the model's memory before the next one is made."""
    import gc

    import torch

    trainer.model = trainer.model_wrapped = trainer.optimizer = trainer.lr_scheduler = None
    trainer.callback_handler = None
    trainer.accelerator.free_memory()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def reset_peak(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()


def peak_gb(device: str) -> float:
    import torch

    return torch.cuda.max_memory_allocated() / 1e9 if device.startswith("cuda") else 0.0


def name_of(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device.startswith("cuda") else "CPU"


def versions() -> dict:
    from importlib import metadata

    return {name: metadata.version(name) for name in ("torch", "transformers", "accelerate")}


def print_table(results: dict) -> None:
    print("| shape | devices | tokens/s | step, s | peak GB a device | device |")
    print("| --- | --- | --- | --- | --- | --- |")
    for shape, result in results.items():
        for count in ("one", "two"):
            run = result[count]
            print(
                f"| {shape} | {count} | {run['tokens_per_second']:,.0f} | {run['step_seconds']:.3f}"
                f" | {run['peak_gb']:.1f} | {run['device']} |"
            )
    for shape, result in results.items():
        print(
            f"{shape}: {result['speedup']:.2f} times as fast on two; relative difference of "
            + "; of ".join(
                f"{what} {result[what]['two_against_one']:.1e} (one device twice: "
                f"{result[what]['one_again']:.1e})"
                for what in ("gradients", "changes")
            )
        )


if __name__ == "__main__":
    main()
