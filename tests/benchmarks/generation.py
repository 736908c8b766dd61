"""How fast the generation engine writes on one GPU, and how fast `generate` does in the same run.

  PYTHONPATH=workflow/scripts python tests/benchmarks/generation.py [--shapes llama_3b qwen3_4b]

Random weights of the true shapes: speed and memory are honest, the text means nothing. 499 prompts
of a realistic spread of lengths (mean about 330 tokens, at most 1,024). Two loads:
  fixed   every row gets exactly 64 new tokens, as the baseline does;
  natural rows stop by themselves after 61 new tokens in the mean, at most 200: a random 64th of the
          vocabulary are stop tokens, and the head's rows are shuffled so that greedy text wanders.
Baseline: NF4 base with a LoRA adapter, `generate`, batch 64, sorted by length (its best case).
Prints one Markdown table; needs CUDA, and bitsandbytes and peft for the baseline.
"""

import argparse
import json
import random
import time
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig, Qwen3Config

from yoyak.generation.decoding import DecodingSettings
from yoyak.generation.engines import make_generator
from yoyak.generation.plan import plan_generation

ROWS, LONGEST, NEW_TOKENS, MOST_NEW = 499, 1024, 64, 200
SHAPES = {
    "llama_3b": LlamaConfig(
        vocab_size=128_256,
        hidden_size=3072,
        intermediate_size=8192,
        num_hidden_layers=28,
        num_attention_heads=24,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    ),
    "qwen3_4b": Qwen3Config(
        vocab_size=151_936,
        hidden_size=2560,
        intermediate_size=9728,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--slots", nargs="+", type=int, default=[0], help="0: the plan's own")
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument("--batch-dependent", action="store_true",
                        help="as with execution.batch_invariant: false")  # fmt: skip
    parser.add_argument("--output", type=Path, help="the figures as JSON")
    args = parser.parse_args()
    gpu = torch.cuda.get_device_name()
    print(f"{gpu}, torch {torch.__version__}, transformers {transformers.__version__}", flush=True)
    results = []
    for shape in args.shapes:
        results += benchmark(shape, args.slots, not args.no_baseline, not args.batch_dependent)
        torch.cuda.empty_cache()
    print(table(results))
    if args.output:
        args.output.write_text(json.dumps({"gpu": gpu, "results": results}, indent=1))


def benchmark(shape: str, slots: list[int], baseline: bool, invariant: bool) -> list[dict]:
    """All measurements of one shape."""
    prompts = realistic_prompts(SHAPES[shape].vocab_size)
    model = random_model(shape)
    results = []
    how = "engine" if invariant else "engine, batch-dependent"
    for number in slots:
        for load in ("fixed", "natural"):
            cold = engine(model, prompts, load, number, invariant)
            warm = engine(model, prompts, load, number, invariant, cold.pop("generator"))
            del warm["generator"]
            for state, result in (("first run", cold), ("warm", warm)):
                results.append({"shape": shape, "what": f"{how}, {load}, {state}", **result})
                print(results[-1], flush=True)
            torch.cuda.empty_cache()
    if baseline:
        model = four_bit_with_adapter(model)
        nf4 = engine(model, prompts, "fixed", 0, invariant)
        del nf4["generator"]
        results.append({"shape": shape, "what": "engine on NF4 + adapter, fixed", **nf4})
        print(results[-1], flush=True)
        torch.cuda.empty_cache()
        results.append({"shape": shape, **plain_generate(model, prompts)})
        print(results[-1], flush=True)
    return results


def realistic_prompts(vocabulary: int) -> list[list[int]]:
    """Lengths like those of tokenised dialogues in a prompt frame: log-normal, cut at both ends."""
    draw = random.Random(0)
    lengths = [
        min(LONGEST, max(80, round(draw.lognormvariate(5.66, 0.5)))) for _ in range(ROWS - 1)
    ]
    lengths.append(LONGEST)
    return [[draw.randrange(vocabulary) for _ in range(length)] for length in lengths]


def random_model(shape: str):
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(
            SHAPES[shape], dtype=torch.bfloat16, attn_implementation="sdpa"
        )
    embedding = model.get_input_embeddings().weight
    # A tied head of random weights repeats its input for ever; shuffled rows make it wander.
    shuffled = embedding.detach()[torch.randperm(len(embedding), device="cuda")]
    model.lm_head.weight = torch.nn.Parameter(shuffled, requires_grad=False)
    return model.eval()


def engine(model, prompts, load: str, slots: int, invariant: bool, generator=None) -> dict:
    """One run over all prompts, timed from nothing (no cache, no graphs) or with both at hand."""
    stops, most = set(), NEW_TOKENS
    if load == "natural":
        vocabulary = model.config.vocab_size
        stops = set(random.Random(1).sample(range(vocabulary), vocabulary // 64))
        most = MOST_NEW
    decoding = DecodingSettings(max_new_tokens=most)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    first_row = []
    if generator is None:
        lengths = [len(prompt) for prompt in prompts]
        plan = plan_generation(
            model, lengths, decoding, batch=slots or "auto", batch_invariant=invariant
        )
        generator = make_generator(model, stops, decoding, plan)
    results = generator.run(
        prompts, lambda *_: first_row or first_row.append(time.perf_counter() - started)
    )
    torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    new_tokens = sum(row.new_tokens for row in results)
    return {
        "rows_at_once": generator.plan.slots,
        "new_tokens": new_tokens,
        "seconds": round(seconds, 2),
        "first_row_seconds": round(first_row[0], 2),
        "tokens_per_second": round(new_tokens / seconds),
        "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1),
        "generator": generator,
    }


def four_bit_with_adapter(model):
    """The same model as NF4 base and an untrained LoRA adapter, as a training leaves it."""
    import bitsandbytes as bnb
    from peft import LoraConfig, get_peft_model

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is torch.nn.Linear and name != "lm_head":
                size = (child.in_features, child.out_features)
                linear = bnb.nn.Linear4bit(
                    *size, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4"
                )
                linear.weight = bnb.nn.Params4bit(
                    child.weight.data, requires_grad=False, quant_type="nf4"
                )
                setattr(parent, name, linear.to("cuda"))
    model.is_loaded_in_4bit = True
    projections = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = LoraConfig(r=16, lora_alpha=32, target_modules=projections, task_type="CAUSAL_LM")
    return get_peft_model(model, config).to(torch.bfloat16).eval()


@torch.inference_mode()
def plain_generate(model, prompts, batch: int = 64, batches: int = 2) -> dict:
    """transformers' `generate`, left-padded; the batches of median length stand for all."""
    order = sorted(prompts, key=len)
    middle = (len(order) - batch * batches) // 2
    config = GenerationConfig(
        max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0
    )
    torch.cuda.reset_peak_memory_stats()

    def run(rows, settings):
        width = max(map(len, rows))
        tokens = torch.zeros(len(rows), width, dtype=torch.int64)
        mask = torch.zeros_like(tokens)
        for place, row in enumerate(rows):
            tokens[place, width - len(row) :] = torch.tensor(row)
            mask[place, width - len(row) :] = 1
        output = model.generate(
            input_ids=tokens.cuda(), attention_mask=mask.cuda(), generation_config=settings
        )
        torch.cuda.synchronize()
        return output.shape[1] - width

    run(order[middle : middle + 8], GenerationConfig(max_new_tokens=4, pad_token_id=0))
    started = time.perf_counter()
    new_tokens = 0
    for number in range(batches):
        start = middle + number * batch
        new_tokens += batch * run(order[start : start + batch], config)
    seconds = time.perf_counter() - started
    return {
        "what": f"NF4 + adapter, generate, batch {batch}",
        "rows_at_once": batch,
        "new_tokens": new_tokens,
        "seconds": round(seconds, 2),
        "first_row_seconds": round(seconds / batches, 2),
        "tokens_per_second": round(new_tokens / seconds),
        "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 1),
    }


def table(results: list[dict]) -> str:
    columns = list(results[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(f"{row[c]:,}" if isinstance(row[c], (int, float)) else row[c]
                                for c in columns) + " |" for row in results]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
