"""The engine check on one GPU: its noise, the faults that it sees, its time.

    python tests/benchmarks/engine_check.py mutations time noise

Needs a CUDA GPU and the project's Python packages, no network and no checkpoint: weights are
random, of true or small shapes. `noise` compares sound engines with transformers' own forward in
fifty starts for each number format; five times its largest difference is the check's tolerance.
`mutations` puts faults in on purpose. docs/architectures.md keeps what was measured.
"""

import argparse
import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow" / "scripts"), str(ROOT / "tests" / "support")]

import torch  # noqa: E402
import transformers  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from shapes import SHAPES  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from yoyak.generation.check import Reference  # noqa: E402
from yoyak.generation.decoding import DecodingSettings  # noqa: E402
from yoyak.generation.engines import make_generator  # noqa: E402
from yoyak.generation.plan import plan_generation  # noqa: E402
from yoyak.models import attention  # noqa: E402
from yoyak.run.plan import Plan  # noqa: E402
from yoyak.training import check as training_check  # noqa: E402
from yoyak.training.check import check_engine, make_reference  # noqa: E402
from yoyak.training.engine import apply_plan  # noqa: E402

DEVICE = "cuda:0"
LENGTHS = (300, 700, 90, 510)
PLAN = Plan(
    device=DEVICE, threads=8, compute_dtype="bfloat16", base_weights="dequantized",
    token_budget=32768, gradient_checkpointing=False, layers="own", optim="adamw_torch_fused",
    predicted_bytes=0, available_bytes=0,
)  # fmt: skip
SMALL = {
    "vocab_size": 8000, "hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 8,
    "num_key_value_heads": 4, "head_dim": 32, "max_position_embeddings": 2048,
}  # fmt: skip
FAMILIES = {
    "llama": ("LlamaConfig", {}),
    "qwen3": ("Qwen3Config", {}),
    "mistral": ("MistralConfig", {"sliding_window": 128}),
    "granite": ("GraniteConfig", {"logits_scaling": 8.0}),
    "gemma2": ("Gemma2Config", {"sliding_window": 128, "attn_logit_softcapping": 1.0}),
    "gemma3": ("Gemma3TextConfig", {"sliding_window": 128}),
    "lfm2": ("Lfm2Config", {"full_attn_idxs": [1, 3, 5]}),
}
FUSED = ("llama", "qwen3")
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def small(family: str, layers: int, seed: int, dtype: torch.dtype, gain: float = 2.0):
    """A random model of a few layers; `gain` widens the usual start, so that tokens differ."""
    name, extra = FAMILIES[family]
    config = getattr(transformers, name)(**SMALL, num_hidden_layers=layers, **extra)
    return adapted(config, dtype, seed, gain)


def adapted(config, dtype: torch.dtype, seed: int = 0, gain: float = 1.0):
    """A model of random weights, made on the GPU, or a folder's; with fresh adapters."""
    torch.manual_seed(seed)
    if isinstance(config, Path):
        model = AutoModelForCausalLM.from_pretrained(config, dtype=dtype).to(DEVICE)
    else:
        torch.set_default_dtype(dtype)
        try:
            with torch.device("cuda"):
                model = AutoModelForCausalLM.from_config(config)
        finally:
            torch.set_default_dtype(torch.float32)
    model.config.use_cache = False
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        if parameter.dim() == 2:
            parameter.mul_(gain)
    names = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    targets = [name for name in SEVEN if name in names] + [n for n in ("w1", "w3") if n in names]
    settings = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules=targets)
    return get_peft_model(model, settings)


def rows(vocabulary: int, seed: int, lengths=LENGTHS) -> list[dict]:
    generator = torch.Generator().manual_seed(seed)
    found = []
    for length in lengths:
        ids = torch.randint(0, vocabulary, (length,), generator=generator)
        labels = ids.clone()
        labels[: -min(60, length // 2)] = -100
        found.append({"input_ids": ids, "labels": labels})
    return found


def plans(family: str, plan: Plan) -> dict[str, Plan]:
    found = {"packed": plan, "own head": replace(plan, head="model")}
    if family in FUSED and plan.compute_dtype != "float32":
        found["fused"] = replace(plan, layers="fused")
    found["plain"] = replace(plan, engine="plain", head="chunked")
    return found


def noise(starts: int = 50) -> None:
    """The largest differences of sound engines, for each number format (float32 is given 1e-5)."""
    for table in (training_check.LOSS_TOLERANCE, training_check.LOGITS_TOLERANCE):
        table |= dict.fromkeys(table, 1.0)
    for name in ("float32", "bfloat16", "float16"):
        worst: dict[str, list[float]] = {}
        lengths = (200, 450, 90, 330)  # the embedded models know 512 positions
        started = time.perf_counter()
        for start in range(starts):
            family, model = clean_start(start, getattr(torch, name))
            plan = replace(PLAN, compute_dtype=name)
            vocabulary = model.config.vocab_size
            reference = make_reference(model, rows(vocabulary, start, lengths), plan)
            own = model.config._attn_implementation
            for engine, chosen in plans(family, plan).items():
                apply_plan(model, chosen, own)
                found = check_engine(model, reference, chosen)
                numbers = (found.loss_difference, found.logits_difference, found.leak)
                if None in numbers:
                    print(f"  {name} {family} {start} {engine}: {found.problem}")
                    continue
                before = worst.setdefault(f"train {engine}", [0.0, 0.0, 0.0])
                worst[f"train {engine}"] = [max(pair) for pair in zip(before, numbers, strict=True)]
            apply_plan(model, plans(family, plan)["plain"], own)
            _generation_noise(model, worst, rows(vocabulary, start, lengths))
            del model, reference
        seconds = time.perf_counter() - started
        print(f"noise {name}: {starts} starts in {seconds:.0f} s (loss, logits, leak)")
        for engine, numbers in worst.items():
            print(f"  {engine:<14} " + "  ".join(f"{number:.2e}" for number in numbers))
        free_memory()


def clean_start(start: int, dtype: torch.dtype):
    """(family, model): the embedded models, the 3B shape, and small ones of 4 to 30 layers."""
    embedded = {0: "tiny_llama", 1: "tiny_qwen3"}.get(start)
    if embedded:
        folder = ROOT / "workflow" / "resources" / "models" / embedded
        return embedded.removeprefix("tiny_"), adapted(folder, dtype)
    if start in (2, 3):
        return "llama", adapted(SHAPES["llama_3.2_3b"], dtype, start)
    family = ("llama", "qwen3", "mistral", "gemma3")[start % 4]
    return family, small(family, (4, 12, 30)[start % 3], start, dtype, gain=1.0)


def _generation_noise(model, worst: dict, some: list[dict]) -> None:
    prompts = [row["input_ids"].tolist() for row in some]
    decoding = DecodingSettings(max_new_tokens=16)
    reference = Reference(model, prompts, decoding.max_new_tokens)
    lengths = [len(prompt) for prompt in prompts]
    for engine in ("slots", "plain"):
        plan = plan_generation(model, lengths, decoding, engine=engine)
        found = reference.examine(partial(make_generator, model, [1], decoding, plan))
        if found.difference is None:
            print(f"  generation, {engine}: {found.fault}")
            continue
        key = f"generate {engine}"
        worst[key] = [max(worst.get(key, [0.0])[0], found.difference)]


def mutations() -> None:
    """Faults put in on purpose; each must be seen in bf16."""
    for name, family, mutate in (
        ("window dropped", "mistral", _no_window),
        ("logit scale left out", "granite", None),
        ("softcap left out", "gemma2", _no_softcap),
        ("leak through attention", "llama", _no_boundaries),
        ("leak through a convolution", "lfm2", None),
        ("nothing", "llama", None),
    ):
        for dtype in ("float32", "bfloat16"):
            gain = 6.0 if family == "gemma2" else 2.0  # scores large enough to meet a softcap
            model = small(family, 6, 0, getattr(torch, dtype), gain)
            head = "model" if family == "gemma2" else "chunked"  # its attention's softcap alone
            plan = replace(PLAN, compute_dtype=dtype, head=head)
            reference = make_reference(model, rows(8000, 1), plan)
            with mutate() if mutate else contextlib.nullcontext():
                apply_plan(model, plan)
                found = check_engine(model, reference, plan)
            print(f"mutation {name:<27} {dtype:<9} {found.problem or 'no problem'}")


@contextlib.contextmanager
def _attention(function):
    kinds = transformers.AttentionInterface._global_mapping
    before = kinds[attention.PACKED]
    kinds[attention.PACKED] = function
    try:
        yield
    finally:
        kinds[attention.PACKED] = before


def _no_window():
    return _attention(
        lambda *args, sliding_window=None, **keys: attention.packed_attention(*args, **keys)
    )


def _no_softcap():
    return _attention(lambda *args, softcap=None, **keys: attention.packed_attention(*args, **keys))


def _no_boundaries():
    def whole(*args, cu_seq_lens_q=None, max_length_q=None, **keys):
        tokens = args[1].shape[2]
        ends = torch.tensor([0, tokens], dtype=torch.int32, device=args[1].device)
        keys |= {"cu_seq_lens_q": ends, "max_length_q": tokens, "boundaries": (0, tokens)}
        return attention.packed_attention(*args, **keys)

    return _attention(whole)


def times() -> None:
    """Seconds of a check at the start of a 3B training, kernels compiled anew, and once more."""
    model = adapted(SHAPES["llama_3.2_3b"], torch.bfloat16)
    lengths = (350, 1224, 100, 500)
    some = rows(128256, 0, lengths)
    for plan in (replace(PLAN, layers="fused"), PLAN, replace(PLAN, engine="plain")):
        for turn in ("first", "again"):
            apply_plan(model, replace(PLAN, engine="plain"), "sdpa")
            reference = make_reference(model, some, plan)
            apply_plan(model, plan, "sdpa")
            found = check_engine(model, reference, plan)
            torch.cuda.synchronize()
            print(f"time 3B {plan.runs()[:40]:<40} {turn}: {found.seconds:.2f} s  {found.line()}")
    apply_plan(model, replace(PLAN, engine="plain"), "sdpa")
    model = model.merge_and_unload()
    prompts = [row["input_ids"].tolist() for row in some]
    decoding = DecodingSettings(max_new_tokens=64)
    for turn in ("first", "again"):
        started = time.perf_counter()
        reference = Reference(model, prompts, decoding.max_new_tokens)
        plan = plan_generation(model, [len(prompt) for prompt in prompts] * 64, decoding)
        build = partial(make_generator, model, [1], decoding, plan)
        found = reference.examine(build)
        torch.cuda.synchronize()
        seconds = time.perf_counter() - started
        print(f"time 3B generation {turn}: {seconds:.2f} s  {found.difference} {found.fault}")
    del model
    free_memory()


def free_memory() -> None:
    gc.collect()
    torch.cuda.empty_cache()


def run_parts(parts: dict[str, Callable[[], None]], what: str) -> None:
    """Run the parts that the command line names."""
    parser = argparse.ArgumentParser(
        description=what, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", choices=parts)
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    for part in args.parts:
        parts[part]()


if __name__ == "__main__":
    run_parts({"mutations": mutations, "time": times, "noise": noise}, __doc__)
