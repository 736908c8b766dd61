#!/usr/bin/env python3
"""Train a tokenizer and a tiny language model from scratch on pretraining_text.py.

    python workflow/resources/models/pretrain_tiny_models.py --model tiny_llama
    python workflow/resources/models/pretrain_tiny_models.py --model tiny_qwen3 --steps 20  # a try

Writes config.json, model.safetensors, the tokenizer, its chat template and pretraining.json (seed,
command, held-out perplexity before and after) to --output-dir/<model>. Uses a GPU where there is
one; a CPU takes hours for all the steps.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import multiprocessing
import random
import sys
import time
from pathlib import Path

import torch
from pretraining_text import documents
from tiny_tokenizers import KINDS, train_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

HERE = Path(__file__).resolve().parent
SEED = 20261124
HELD_OUT_DOCUMENTS = 2_000
MAX_TOKENS = 640
# 4 layers of width 128, 4 query heads and 2 key/value heads of 32: every matrix is a whole number
# of the 64-value blocks of NF4.
SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": True,
}


CLASSES = {
    "tiny_llama": (LlamaConfig, LlamaForCausalLM),
    "tiny_qwen3": (Qwen3Config, Qwen3ForCausalLM),
}


def encode(document: str | list[dict], tokenizer, end_of_text: str) -> list[int]:
    """Ids of one document; plain ones get the BOS (where there is one) and the stop token that
    instruction answers end with, or the end of text."""
    if not isinstance(document, str):
        text = tokenizer.apply_chat_template(document, tokenize=False)
        return tokenizer(text, add_special_tokens=False)["input_ids"]
    end = tokenizer.eos_token if document.startswith("### ") else end_of_text
    return tokenizer(document + end)["input_ids"]


def encode_many(task: tuple) -> list[list[int]]:
    seed, count, tokenizer, end_of_text = task
    ids = (encode(d, tokenizer, end_of_text) for d in itertools.islice(documents(seed), count))
    return [row for row in ids if len(row) <= MAX_TOKENS]


def make_rows(seed: str, count: int, tokenizer, end_of_text: str, workers: int) -> list[list[int]]:
    """Token ids of `count` documents, made in `workers` processes; the same for any number."""
    parts = max(1, count // 2_000)
    tasks = [(f"{seed}/{part}", count // parts, tokenizer, end_of_text) for part in range(parts)]
    if workers < 2:
        return [row for task in tasks for row in encode_many(task)]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return [row for rows in pool.map(encode_many, tasks, chunksize=1) for row in rows]


def spoken_only(rows: list[list[int]], tokenizer) -> list[list[int]]:
    """The documents that are plain dialogues: they begin with a speaker tag."""
    start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    tag = tokenizer("#Person1#", add_special_tokens=False)["input_ids"]
    return [row for row in rows if row[: len(start + tag)] == start + tag]


def batches(rows: list[list[int]], tokens: int, rng: random.Random, pad: int):
    """Endless (ids, labels) of about `tokens` tokens, rows of like length together."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    groups, group = [], []
    for index in order:
        if group and (len(group) + 1) * len(rows[index]) > tokens:
            groups.append(group)
            group = []
        group.append(index)
    groups.append(group)
    while True:
        rng.shuffle(groups)
        for group in groups:
            width = max(len(rows[i]) for i in group)
            ids = torch.full((len(group), width), pad)
            labels = torch.full((len(group), width), -100)
            for at, index in enumerate(group):
                row = torch.tensor(rows[index])
                ids[at, : len(row)] = row
                labels[at, : len(row)] = row
            yield ids, labels


def loss_sum(model, ids, labels) -> tuple[torch.Tensor, int]:
    """Summed next-token loss; padding is on the right, so causal attention needs no mask."""
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    targets = labels[:, 1:].reshape(-1)
    total = torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(), targets, ignore_index=-100, reduction="sum"
    )
    return total, int((targets != -100).sum())


@torch.no_grad()
def perplexity(model, rows: list[list[int]], pad: int, device: str) -> float:
    model.eval()
    total, count = 0.0, 0
    for start in range(0, len(rows), 64):
        part = rows[start : start + 64]
        ids, labels = next(batches(part, 10**9, random.Random(0), pad))
        loss, n = loss_sum(model, ids.to(device), labels.to(device))
        total, count = total + loss.item(), count + n
    model.train()
    return math.exp(total / count)


def train(model, rows, pad: int, steps: int, tokens: int, peak: float, device: str) -> float:
    """AdamW with a linear warm-up and a cosine down to a tenth; returns seconds."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.05)
    warm = max(1, steps // 50)

    def scale(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, scale)
    supply = batches(rows, tokens, random.Random(SEED), pad)
    started = time.monotonic()
    for step in range(steps):
        ids, labels = (part.to(device, non_blocking=True) for part in next(supply))
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss, count = loss_sum(model, ids, labels)
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 500 == 0 or step == steps - 1:
            print(
                f"step {step} loss {(loss / count).item():.3f} {time.monotonic() - started:.0f} s",
                flush=True,
            )
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=sorted(KINDS), required=True)
    parser.add_argument("--output-dir", type=Path, default=HERE)
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--steps", type=int, default=3_500)
    parser.add_argument("--batch-tokens", type=int, default=32_768)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--workers", type=int, default=max(1, multiprocessing.cpu_count() - 1))
    arguments = parser.parse_args()
    kind = KINDS[arguments.model]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(SEED)
    tokenizer = train_tokenizer(kind, SHAPE["max_position_embeddings"])
    pad, end = tokenizer.pad_token_id, kind["end_of_text"]
    held_out = make_rows("held out", HELD_OUT_DOCUMENTS, tokenizer, end, 1)
    rows = make_rows("train", arguments.documents, tokenizer, end, arguments.workers)
    known = {tuple(row) for row in rows}
    held_out = [row for row in held_out if tuple(row) not in known]
    print(f"{len(rows)} documents, {sum(map(len, rows))} tokens, {len(held_out)} held out")
    config_class, model_class = CLASSES[arguments.model]
    config = config_class(
        vocab_size=len(tokenizer),
        pad_token_id=pad,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        dtype="float32",
        **SHAPE,
    )
    model = model_class(config).to(device)
    spoken = spoken_only(held_out, tokenizer)
    before = [perplexity(model, part, pad, device) for part in (held_out, spoken)]
    seconds = train(
        model, rows, pad, arguments.steps, arguments.batch_tokens, arguments.learning_rate, device
    )
    after = [perplexity(model, part, pad, device) for part in (held_out, spoken)]
    target = arguments.output_dir / arguments.model
    model.float().cpu().save_pretrained(target)
    tokenizer.save_pretrained(target)
    (target / "model.safetensors").chmod(0o644)
    record = {
        "command": " ".join(["python", *sys.argv]),
        "seed": SEED,
        "steps": arguments.steps,
        "documents": len(rows),
        "tokens": sum(map(len, rows)),
        "parameters": model.num_parameters(),
        "held_out_documents": len(held_out),
        "perplexity_before": round(before[0], 1),
        "perplexity_after": round(after[0], 3),
        "dialogues_before": round(before[1], 1),
        "dialogues_after": round(after[1], 3),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "train_seconds": round(seconds),
    }
    (target / "pretraining.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
