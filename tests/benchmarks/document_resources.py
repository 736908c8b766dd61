"""The description's table of resources: its models loaded and trained by the library, on one GPU.

    python tests/benchmarks/document_resources.py                   # all cases, about 8 minutes
    python tests/benchmarks/document_resources.py qlora_3b planned  # some of them
    python tests/benchmarks/document_resources.py --tiny            # small shapes, on a CPU, too

`qlora_*`: load_lora_model_and_tokenizer and create_llm_trainer(...).train(), ten steps on examples
with the lengths of the real data, in a process that may allocate no more memory than the
description names, and whose planner sees no more. `full_3b`: all weights of the 3B shape, in the
memory of the smallest card that the planner takes. `planned`: nothing runs; the planner's smallest
cards for full fine-tuning, and its hours on an A6000.

Checkpoints are made here, random weights of the true shapes with an embedded tokenizer, and removed
again (up to 35 GB in $TMPDIR); no network. Each case is a process of its own; one that fails is a
row of the table. The memory of the CUDA context, `context`, is outside what torch allocates.
"""

import argparse
import csv
import gc
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

# As in a program of a user, who sets nothing.
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts")]

import torch  # noqa: E402
from shapes import SHAPES  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

import yoyak  # noqa: E402
from yoyak.config.loading import load_config, overridden  # noqa: E402
from yoyak.errors import UserError  # noqa: E402
from yoyak.run.memory import GIB, ModelShape, expected_seconds  # noqa: E402
from yoyak.run.plan import Plan  # noqa: E402
from yoyak.run.planning import plan_training  # noqa: E402

GB = 10**9
CUDA = torch.cuda.is_available()
EMBEDDED = ROOT / "workflow" / "resources"
SMALL = {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "vocab_size": 3072}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
STEPS, LONGEST, MEAN, ROWS, EPOCHS = 10, 1224, 330, 12_457, 3
A6000 = {"free_bytes": int(47.5 * GIB), "rate": 150e12}  # dense bf16 of its data sheet, about


# The model file whose shape and settings a case has, and the description's GB.
CASES = {
    "qlora_3b": ("llama_3.2_3b", 8),
    "qlora_4b": ("qwen3_4b", 10),
    "qlora_8b": ("llama_3_8b", 16),
    "full_3b": ("llama_3.2_3b", 24),
}
# Its GB for full fine-tuning, and its hours for three epochs of QLoRA on an A6000.
FULL = {"llama_3.2_3b": (24, "6-8 h"), "qwen3_4b": (32, "8-10 h"), "llama_3_8b": (64, "none")}


def run(name: str, tiny: bool, folder: Path) -> dict:
    """Make a checkpoint, load it, train; what it took."""
    (kind, document_gb), qlora = CASES[name], name.startswith("qlora")
    checkpoint, started = folder / "checkpoint", time.perf_counter()
    shape = write_checkpoint(kind, checkpoint, tiny)
    built = time.perf_counter() - started
    config = settings(kind, qlora, tiny, checkpoint)
    gigabytes = document_gb if qlora else smallest_card(config, shape)[0] + 1
    context = cap(gigabytes)
    model, tokenizer = yoyak.load_lora_model_and_tokenizer(config)
    loading_gb, _ = peak()
    own = model.config._attn_implementation
    batch = config.training.batch_size * config.training.gradient_accumulation_steps
    sets = examples(tokenizer, batch * config.training.max_steps, config)
    trainer = yoyak.create_llm_trainer(config, model, tokenizer, *sets, output_dir=folder)
    results = trainer.train()
    prompt = torch.tensor([sets[1].prompts()[0]], device=model.device)
    made = model.generate(input_ids=prompt, max_new_tokens=4, do_sample=False)
    assert made.shape[1] > prompt.shape[1] and model.config._attn_implementation == own
    table = (folder / "training_log.csv").read_text(encoding="utf-8").splitlines()
    log = [row for row in csv.DictReader(table) if row["loss"]]
    losses = [float(row["loss"]) for row in log]
    assert all(map(math.isfinite, losses)) and results["final_model"].is_dir()
    plan, (peak_gb, reserved_gb) = trainer.plan, peak()
    return {
        "document_gb": document_gb, "cap_gb": gigabytes, "context_gb": context,
        "loading_gb": loading_gb, "peak_gb": peak_gb, "reserved_gb": reserved_gb,
        "planned_gb": plan.predicted_bytes / GB, "seen_free_gb": plan.available_bytes / GB,
        "plan": f"{plan.base_weights} {plan.token_budget:,}"
        f"{' recomputed' if plan.gradient_checkpointing else ''}, {plan.layers} layers",
        "engine": plan.runs(), "tokens": sets[0].statistics["example_tokens"],
        "tokens_per_second": sorted(float(row["tokens_per_second"]) for row in log)[len(log) // 2],
        "losses": [losses[0], losses[-1], results["eval_loss"]],
        "seconds": {"checkpoint": built, "all": time.perf_counter() - started},
    }  # fmt: skip


def write_checkpoint(name: str, folder: Path, tiny: bool) -> ModelShape:
    """Random bf16 weights of a shape, made on the GPU, with the tokenizer of an embedded model."""
    values = SHAPES[name].to_dict() | (SMALL if tiny else {})
    values.pop("layer_types", None)  # one for each layer: made again for their number
    source = EMBEDDED / "models" / f"tiny_{values['model_type']}"
    own = json.loads((source / "config.json").read_text(encoding="utf-8"))
    values |= {f"{end}_token_id": own.get(f"{end}_token_id") for end in ("bos", "eos", "pad")}
    config = type(SHAPES[name]).from_dict(values)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda" if CUDA else "cpu"):
            model = AutoModelForCausalLM.from_config(config)
    finally:
        torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder, max_shard_size="4GB")
    del model
    gc.collect()
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy2(source / file, folder)
    return ModelShape.from_config(config)


def settings(name: str, qlora: bool, tiny: bool = False, checkpoint: Path | None = None):
    """The model file's own, but for the checkpoint, its adapters and the number of steps."""
    changes: dict = {"lora": {"use_lora": qlora, "use_qlora": qlora}}
    if checkpoint:
        changes["model"] = {"checkpoint": str(checkpoint), "revision": None}
        changes["training"] = {"max_steps": 2 if tiny else STEPS}
    if tiny:
        changes["training"] |= {"batch_size": 4, "gradient_accumulation_steps": 1}
    return overridden(load_config(name), changes, "the benchmark")


def cap(gigabytes: int) -> float:
    """Let torch allocate, and the planner see, so much; returns the context's GB."""
    if not CUDA:
        return 0.0
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    context = (total - free - torch.cuda.memory_reserved()) / GB
    torch.cuda.set_per_process_memory_fraction(gigabytes * GB / total)
    torch.cuda.mem_get_info = lambda device=None: (
        max(0, gigabytes * GB - torch.cuda.memory_reserved()),
        gigabytes * GB,
    )
    torch.cuda.reset_peak_memory_stats()
    return context


def peak() -> tuple[float, float]:
    """GB allocated and reserved at most, since `cap`."""
    if not CUDA:
        return 0.0, 0.0
    return torch.cuda.max_memory_allocated() / GB, torch.cuda.max_memory_reserved() / GB


def examples(tokenizer, count: int, config) -> list:
    """Training and evaluation set: embedded turns in a row, as long as the real dialogues."""
    text = (EMBEDDED / "dialogues/train.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    turns = [turn for row in rows for turn in row["dialogue"].split("\n")]
    sizes = [len(ids) for ids in tokenizer(turns, add_special_tokens=False)["input_ids"]]
    story = tokenizer(" ".join(row["summary"] for row in rows), add_special_tokens=False)
    draw, place, dialogues, summaries = random.Random(0), 0, [], []
    for number in range(count + 16):
        answer = min(max(int(draw.gauss(60, 20)), 10), 200)
        length = min(max(int(draw.lognormvariate(math.log(285), 0.53)), 60), LONGEST)
        if number % 64 == 5:
            answer, length = 200, 2 * LONGEST  # shortened to encoder_max_len
        part = []
        while length > answer + 40 or not part:  # the frame takes about 40
            part.append(turns[place])
            length -= sizes[place] + 1
            place = (place + 1) % len(turns)
        start = draw.randrange(len(story["input_ids"]) - 200)
        dialogues.append("\n".join(part))
        summaries.append(tokenizer.decode(story["input_ids"][start : start + answer]))
    lengths = config.tokenizer.encoder_max_len, config.tokenizer.decoder_max_len
    return [
        yoyak.create_llm_dataset(dialogues[part], summaries[part], tokenizer, *lengths)
        for part in (slice(count), slice(count, None))
    ]


def plan(config, shape: ModelShape, free_bytes: int) -> Plan:
    batch = config.training.batch_size * config.training.gradient_accumulation_steps
    return plan_training(
        config, shape, device="cuda:0", free_bytes=free_bytes, supports_bf16=True,
        longest=LONGEST, batch_tokens=batch * MEAN, steps=EPOCHS * ROWS // batch,
    )  # fmt: skip


def smallest_card(config, shape: ModelShape) -> tuple[int, Plan]:
    """Free GB of the smallest card that the planner takes, and its plan there."""
    for gigabytes in range(1, 1000):
        try:
            return gigabytes, plan(config, shape, gigabytes * GB)
        except UserError:
            continue
    raise UserError("no card is large enough")


def planned() -> dict:
    """From shapes alone: full fine-tuning's memory, and the hours of the description's training."""
    found = {}
    for model in FULL:
        shape, config = ModelShape.from_config(SHAPES[model]), settings(model, qlora=True)
        card, smallest = smallest_card(settings(model, qlora=False), shape)
        chosen = plan(config, shape, A6000["free_bytes"])
        seconds = expected_seconds(
            shape, lora_rank=config.lora_rank, tokens=EPOCHS * ROWS * MEAN, rate=A6000["rate"],
            cuda=True, gradient_checkpointing=chosen.gradient_checkpointing, layers=chosen.layers,
        )  # fmt: skip
        found[model] = {
            "smallest_card_gb": card, "planned_gb": smallest.predicted_bytes / GB,
            "a6000_hours": seconds / 3600,
        }  # fmt: skip
    return found


def in_its_own_process(name: str, tiny: bool, timeout: int) -> dict:
    """A case's figures, or what went wrong."""
    with tempfile.TemporaryDirectory(prefix="yoyak-benchmark-") as folder:
        command = [sys.executable, __file__, name, "--in", folder, *(["--tiny"] if tiny else [])]
        try:
            code = subprocess.run(command, timeout=timeout).returncode
        except subprocess.TimeoutExpired:
            return {"failed": f"not done after {timeout} s"}
        file, failed = Path(folder) / "figures.json", {"failed": f"the process ended with {code}"}
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else failed


def one(name: str, tiny: bool, folder: Path) -> None:
    """A case in this process; its figures go to a file in `folder`."""
    try:
        figures = planned() if name == "planned" else run(name, tiny, folder)
    except Exception as error:
        traceback.print_exc()
        figures = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    (folder / "figures.json").write_text(json.dumps(figures), encoding="utf-8")


def print_table(results: dict) -> None:
    """Measured cases in GB beside the description's; hours are three epochs at that speed."""
    names = ("document", "cap", "peak", "reserved", "context", "planned", "tokens/s", "hours")
    print(f"{'case':<9}" + "".join(f"{name:>10}" for name in names))
    for name, found in results.items():
        if "failed" in found:
            print(f"{name:<9}  failed: {found['failed']}")
        elif name in CASES:
            keys = ("document_gb", "cap_gb", "peak_gb", "reserved_gb", "context_gb", "planned_gb")
            speed = found["tokens_per_second"]
            cells = [*(found[key] for key in keys), speed, EPOCHS * ROWS * MEAN / speed / 3600]
            print(f"{name:<9}" + "".join(f"{cell:>10,.2f}" for cell in cells), found["plan"])
    planned = results.get("planned", {})
    for model, found in planned.items() if "failed" not in planned else ():
        document_gb, document_hours = FULL[model]
        print(
            f"{model}: full fine-tuning is planned at {found['planned_gb']:.1f} GB, from "
            f"{found['smallest_card_gb']} GB free on (document: {document_gb} GB); QLoRA on an "
            f"A6000 at {found['a6000_hours']:.1f} h (document: {document_hours})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*CASES, "planned"]
    parser.add_argument("cases", nargs="*", help=f"of: {', '.join(names)}; default: all")
    parser.add_argument("--tiny", action="store_true", help="small shapes and two steps")
    parser.add_argument("--timeout", type=int, default=280, help="seconds")
    parser.add_argument("--output", type=Path, help="also write the figures there, as JSON")
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if unknown := set(args.cases) - set(names):
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    if args.folder:
        one(args.cases[0], args.tiny, args.folder)
        return
    results = {}
    for name in args.cases or names:
        results[name] = in_its_own_process(name, args.tiny, args.timeout)
        print(name, json.dumps(results[name]), flush=True)
        if args.output:
            args.output.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if CUDA:
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    print_table(results)


if __name__ == "__main__":
    main()
