"""Short trainings on one GPU with the engine check before them: float16's overflow, large shapes.

    python tests/benchmarks/checked_trainings.py float16 shapes

Needs a CUDA GPU and the project's Python packages, no network and no checkpoint: weights are
random. docs/architectures.md keeps what was measured.
"""

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests" / "support")]

import torch  # noqa: E402
import transformers  # noqa: E402
from engine_check import PLAN, SMALL, adapted, free_memory, rows, run_parts  # noqa: E402

from yoyak.config.loading import load_config  # noqa: E402
from yoyak.errors import UserError  # noqa: E402
from yoyak.generation.decoding import DecodingSettings  # noqa: E402
from yoyak.generation.engines import choose_generator  # noqa: E402
from yoyak.training.arguments import quiet_libraries  # noqa: E402
from yoyak.training.engine import apply_plan  # noqa: E402
from yoyak.training.llm_trainer import create_llm_trainer  # noqa: E402
from yoyak.training.overflow import NonFiniteLoss  # noqa: E402


class Rows(list):
    """Random examples with what a training set knows of itself."""

    def __init__(self, vocabulary: int, lengths, seed: int = 0):
        super().__init__(rows(vocabulary, seed, lengths))
        self.lengths = torch.tensor([len(row["input_ids"]) for row in self])
        self.supervised_tokens = sum(int((row["labels"] != -100).sum()) for row in self)
        self.dialogue_index = torch.arange(len(self))


def trained(model, vocabulary: int, dtype: str, steps: int, lengths, batch: int = 64) -> str:
    """Some steps of a training through the study's own functions; what came of them, in words."""
    config = load_config("llama_3.2_3b")
    config.model.dtype = dtype
    config.execution.base_weights = "dequantized"
    few = {"max_steps": steps, "learning_rate": 2e-4, "warmup_ratio": 0.0}
    few |= {"batch_size": batch, "gradient_accumulation_steps": 1}
    config.training = config.training.model_copy(update=few)
    data, held_out = Rows(vocabulary, lengths), Rows(vocabulary, lengths[:8], seed=1)
    torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as work, quiet_libraries():
        try:
            trainer = create_llm_trainer(config, model, None, data, held_out)
            trainer.work = Path(work)
            packed = trainer._create_trainer()
            packed._save_checkpoint = lambda *_: None
            packed.train()
        except (UserError, NonFiniteLoss) as stopped:
            return f"stopped: {stopped}"
    losses = [entry["loss"] for entry in packed.state.log_history if "loss" in entry]
    rates = [e["tokens_per_second"] for e in packed.state.log_history if "loss" in e][2:]
    peak = torch.cuda.max_memory_allocated() / 1e9
    check = trainer.checks[-1]
    return (
        f"{trainer.plan.runs()}; loss {losses[0]:.3f} → {losses[-1]:.3f}, {packed.watch.skipped} "
        f"of {steps} steps skipped, {sorted(rates)[len(rates) // 2]:,.0f} tokens/s, {peak:.1f} GB; "
        f"check {check['seconds']} s, loss {check['loss_difference']:.1e}, logits "
        f"{check['logits_difference']:.1e}"
    )


def float16() -> None:
    """A residual stream that overflows in float16's backward pass, and an ordinary one."""
    for gain, batch in ((1.0, 64), (1e-3, 64), (3e-4, 64), (1e-4, 64), (1e-4, 1), (3e-5, 1)):
        config = transformers.Qwen3Config(**SMALL, num_hidden_layers=12, rms_norm_eps=1e-12)
        model = adapted(config, torch.float16)
        base = model.get_base_model().model
        with torch.no_grad():  # norms undo it on the way forward, and multiply on the way back
            base.embed_tokens.weight.mul_(gain)
            for layer in base.layers:
                layer.self_attn.o_proj.weight.mul_(gain)
                layer.mlp.down_proj.weight.mul_(gain)
            base.norm.weight.mul_(10 if batch == 1 else 1)
        lengths = (300,) * 128 if batch == 64 else (4,) * 128  # two supervised tokens a step
        came = trained(model, 8000, "fp16", 20, lengths, batch)
        print(f"float16 residual stream × {gain:<6} batch {batch:<3} {came}")
        del model
        free_memory()


LARGE = {
    "Mistral-7B": transformers.MistralConfig(
        vocab_size=32000, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=8, head_dim=128, sliding_window=4096,
        max_position_embeddings=32768,
    ),
    "Gemma-3-4B text": transformers.Gemma3TextConfig(
        vocab_size=262208, hidden_size=2560, intermediate_size=10240, num_hidden_layers=34,
        num_attention_heads=8, num_key_value_heads=4, head_dim=256, sliding_window=1024,
        max_position_embeddings=131072,
    ),
}  # fmt: skip


def shapes() -> None:
    """Two large shapes with windows that rows reach: trained, then generating, all checked."""
    lengths = [4600, *(200 + 7 * number % 900 for number in range(255))]
    for name, config in LARGE.items():
        model = adapted(config, torch.bfloat16)
        print(f"shape {name}: {trained(model, config.vocab_size, 'bf16', 6, lengths)}")
        apply_plan(model, replace(PLAN, engine="plain"), "sdpa")
        model = model.merge_and_unload().eval()
        free_memory()
        prompts = [row["input_ids"].tolist() for row in rows(config.vocab_size, 2, lengths[:128])]
        decoding = DecodingSettings(max_new_tokens=64)
        generator, check = choose_generator(model, prompts, [1], decoding)
        started = time.perf_counter()
        results = generator.run(prompts)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        tokens = sum(result.new_tokens for result in results)
        print(f"shape {name}: generated {tokens} tokens at {tokens / seconds:,.0f}/s; {check}")
        del model, generator
        free_memory()


if __name__ == "__main__":
    run_parts({"float16": float16, "shapes": shapes}, __doc__)
