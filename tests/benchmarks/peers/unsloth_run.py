"""One training by Unsloth with its packing: random weights of a true shape, one GPU, no network.

    python tests/benchmarks/peers/unsloth_run.py llama_3.2_3b --output unsloth.json

Started by side_by_side.py, in whichever Python has Unsloth. As its users train: a checkpoint on
the disk loaded in 4 bits (NF4), LoRA of rank 16 on all seven projections, TRL's SFTTrainer as
Unsloth patches it, tokenised rows. Its padding-free mode puts the examples of a batch one after
another without padding, as its packing does, and keeps the global batch exact; left to itself it
goes off where it likes, so it is asked for and checked.
"""

import os
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")
os.environ.setdefault("UNSLOTH_DATASET_NUM_PROC", "0")  # a few hundred rows need no processes
os.environ.setdefault(  # its generated code would lie in the working folder
    "UNSLOTH_COMPILE_LOCATION", os.path.join(tempfile.gettempdir(), "unsloth_compiled_cache")
)

import unsloth  # noqa: E402, I001  before every library that it patches

import argparse  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
from importlib.metadata import PackageNotFoundError, version  # noqa: E402
from pathlib import Path  # noqa: E402

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from tokenizers import Tokenizer, models  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
    TrainerCallback,
)
from trl import SFTConfig, SFTTrainer  # noqa: E402
from unsloth.utils import attention_dispatch  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from shapes import SHAPES, rows  # noqa: E402

PACKAGES = ("unsloth", "unsloth_zoo", "torch", "transformers", "trl", "peft", "bitsandbytes")
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
WARM = 4  # steps; Unsloth compiles in more than the first
LONGEST = 2048  # more than any row; packs may be longer


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shape", choices=list(SHAPES))
    parser.add_argument("--examples", type=int, default=64, help="of a global batch")
    parser.add_argument("--packs", type=int, default=1, help="that a global batch is cut into")
    parser.add_argument("--recompute", action="store_true", help="with Unsloth's checkpointing")
    parser.add_argument("--base", choices=["nf4", "bf16"], default="nf4")
    parser.add_argument("--dropout", type=float, default=0.0, help="0: what its fast path wants")
    parser.add_argument("--steps", type=int, default=12, help=f"the first {WARM} are not timed")
    parser.add_argument("--checkpoint", type=Path, help="written if empty; default: thrown away")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unsloth-") as scratch:
        checkpoint = args.checkpoint or Path(scratch) / "checkpoint"
        if not (checkpoint / "config.json").exists():
            write_checkpoint(args.shape, checkpoint)
        try:
            result = train(args, checkpoint, scratch)
        except torch.OutOfMemoryError as error:
            result = {"out_of_memory": str(error).split(". ")[0]}
    args.output.write_text(json.dumps(result, indent=1), encoding="utf-8")


def write_checkpoint(shape: str, folder: Path) -> None:
    """Random weights of that shape, in bf16, and the smallest tokenizer: nothing is tokenised."""
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(SHAPES[shape])
    torch.set_default_dtype(torch.float32)
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    words = {word: number for number, word in enumerate(special.values())}
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<unk>")), **special
    ).save_pretrained(folder)
    model.save_pretrained(folder)
    del model
    gc.collect()
    torch.cuda.empty_cache()


def train(args: argparse.Namespace, checkpoint: Path, scratch: str) -> dict:
    recompute = "unsloth" if args.recompute else False
    model, tokenizer = unsloth.FastLanguageModel.from_pretrained(
        str(checkpoint), max_seq_length=LONGEST, dtype=torch.bfloat16,
        load_in_4bit=args.base == "nf4", load_in_16bit=args.base == "bf16",
        use_gradient_checkpointing=recompute, use_exact_model_name=True, local_files_only=True,
    )  # fmt: skip
    model = unsloth.FastLanguageModel.get_peft_model(
        model, r=16, lora_alpha=32, lora_dropout=args.dropout, bias="none",
        target_modules=PROJECTIONS, use_gradient_checkpointing=recompute,
    )  # fmt: skip
    in_4_bits = any(type(module).__name__ == "Linear4bit" for module in model.modules())
    assert in_4_bits == (args.base == "nf4"), "Unsloth changed the base: bitsandbytes did not load?"
    made = rows(args.examples * args.steps, SHAPES[args.shape].vocab_size)
    data = [{name: row[name].tolist() for name in ("input_ids", "labels")} for row in made]
    trainer = SFTTrainer(
        model=model, processing_class=tokenizer, train_dataset=Dataset.from_list(data),
        args=SFTConfig(
            output_dir=scratch, padding_free=True, max_steps=args.steps,
            per_device_train_batch_size=args.examples // args.packs,
            gradient_accumulation_steps=args.packs, gradient_checkpointing=args.recompute,
            bf16=True, optim="adamw_torch_fused", learning_rate=2e-5, max_grad_norm=1.2,
            logging_steps=args.steps, logging_nan_inf_filter=False, save_strategy="no",
            report_to="none", disable_tqdm=True,
        ),
    )  # fmt: skip
    packs = watch_packs(trainer.data_collator)
    clock = Clock()
    trainer.add_callback(clock)
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    loss = trainer.train().training_loss
    norms = [entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry]
    tokens = [sum(packs[i : i + args.packs]) for i in range(0, len(packs), args.packs)]
    return {
        **clock.speeds(tokens[: args.steps], warm=WARM),
        "peak_gb": torch.cuda.max_memory_allocated() / 1e9,
        "reserved_gb": torch.cuda.max_memory_reserved() / 1e9,
        "loss": loss,
        "last_gradient_norm": float(norms[-1]),
        "fullest_pack": max(packs),
        "attention": attention_dispatch.select_attention_backend(use_varlen=True),
        "versions": {name: installed(name) for name in (*PACKAGES, "xformers", "flash_attn")},
    }


def watch_packs(collator) -> list[int]:
    """The list to which every batch adds its tokens, of examples only; AssertionError if padded."""
    packs, collate = [], collator.torch_call

    def collate_and_count(examples):
        batch = collate(examples)
        tokens = sum(len(example["input_ids"]) for example in examples)
        assert "packed_seq_lengths" in batch, f"Unsloth's packing is off: {list(batch)}"
        assert batch["input_ids"].shape == (1, tokens), batch["input_ids"].shape
        packs.append(tokens)
        return batch

    collator.torch_call = collate_and_count
    return packs


class Clock(TrainerCallback):
    """When the GPU was done with each optimiser step; nothing waits for it."""

    def __init__(self):
        self.marks = []

    def on_train_begin(self, args, state, control, **kwargs):
        self._mark()

    def on_step_end(self, args, state, control, **kwargs):
        self._mark()

    def speeds(self, tokens: list[int], warm: int) -> dict:
        """Tokens per second after `warm` steps, and step by step: one that compiled stands out."""
        torch.cuda.synchronize()
        pairs = zip(self.marks[:-1], self.marks[1:], strict=True)
        seconds = [first.elapsed_time(last) / 1000 for first, last in pairs]
        return {
            "tokens_per_second": sum(tokens[warm:]) / sum(seconds[warm:]),
            "each_step": [round(n / s) for n, s in zip(tokens, seconds, strict=True)],
            "first_step_seconds": seconds[0],
        }

    def _mark(self) -> None:
        mark = torch.cuda.Event(enable_timing=True)
        mark.record()
        self.marks.append(mark)


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
