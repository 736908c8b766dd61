"""Generate the predictions of a study's splits as lines of JSON, with their record."""

import json
import time
from itertools import islice
from pathlib import Path

from yoyak.config.model_config import ModelConfig
from yoyak.config.prompts import Prompts
from yoyak.errors import imports_are_done


def generate_splits(
    config: ModelConfig,
    prompt_format: str,
    texts: Prompts,
    adapter: Path | None,
    files: dict[str, Path],
    device: str,
    few_shot: int = 0,
    train: Path | None = None,
) -> tuple[dict[str, str], dict]:
    """Text of each split's predictions file, and the generation's entries for run.json.

    Args:
        texts: the prompts' own. files: CSV of each split, as prepare_data.py writes it.
        few_shot: solved examples in every prompt. train: CSV of the split that they come from.

    Raises UserError, before the model is loaded, where the examples leave too little room.
    """
    from yoyak.data.control_tokens import decode_summaries
    from yoyak.data.dialogues import load_split
    from yoyak.data.encoding import build_prompts
    from yoyak.data.few_shot import choose_examples, few_shot_record
    from yoyak.data.prompts import stop_token_ids
    from yoyak.generation.decoding import DecodingSettings
    from yoyak.generation.engines import choose_generator, report_choice, run_halving
    from yoyak.generation.loading import load_model, plan_loading
    from yoyak.generation.progress import RowProgress
    from yoyak.models.lora_loader import LoRALoader
    from yoyak.run.devices import peak_memory_gb

    started = time.perf_counter()
    rows = {split: load_split(file, labelled=False) for split, file in files.items()}
    examples = []
    if few_shot and train is not None:
        tokenizer = LoRALoader(config).load_tokenizer()
        examples = choose_examples(
            load_split(train), few_shot, tokenizer, config, prompt_format, texts
        )
    loading = plan_loading(config, device)
    model, tokenizer = load_model(config, loading, adapter)
    imports_are_done()
    prompts, shortened = {}, {}
    for split in rows:
        prompts[split], shortened[split] = build_prompts(
            rows[split], tokenizer, config, prompt_format, texts, examples
        )
    every_prompt = [prompt for split in prompts.values() for prompt in split]
    decoding = DecodingSettings.from_config(config)
    stops = stop_token_ids(tokenizer, prompt_format)
    execution = config.execution
    generator, check = choose_generator(
        model,
        every_prompt,
        stops,
        decoding,
        batch=execution.generation_batch,
        engine=execution.engine,
        batch_invariant=execution.batch_invariant,
    )
    report_choice(generator.plan, check)
    slots = generator.plan.slots

    loaded = time.perf_counter()
    progress = RowProgress(len(every_prompt))
    results, plan = run_halving(generator, every_prompt, lambda *_: progress.row())
    seconds = time.perf_counter() - loaded
    left, lines = iter(results), {}
    for split in rows:
        generated = list(islice(left, len(prompts[split])))
        summaries = decode_summaries(tokenizer, [row.tokens for row in generated])
        columns = (rows[split], summaries, prompts[split], generated, shortened[split])
        lines[split] = "".join(prediction_line(*row) for row in zip(*columns, strict=True))
    new_tokens = sum(row.new_tokens for row in results)
    record = {
        "rows": len(every_prompt),
        "prompt_tokens": sum(map(len, every_prompt)),
        "new_tokens": new_tokens,
        **({"few_shot": few_shot_record(examples)} if examples else {}),
        "decoding": decoding.as_dict(),
        "stop_tokens": {str(stop): tokenizer.convert_ids_to_tokens(stop) for stop in stops},
        "execution": {
            **loading.as_dict(),
            **plan.as_dict(),
            "reduced_from": slots if plan.slots < slots else None,
        },
        "engine": check["engine"],
        "engine_check": check,
        "wall_seconds": round(time.perf_counter() - started, 2),
        "generation_seconds": round(seconds, 2),
        "tokens_per_second": round(new_tokens / seconds, 1),
        "peak_memory_gb": round(peak_memory_gb(), 3),
    }
    return lines, record


def prediction_line(row, text: str, prompt: list[int], result, shortened: bool) -> str:
    """One line of a predictions file; new_tokens counts the stop token too."""
    line = {
        "fname": row.fname,
        "prediction": text.strip(),
        "prompt_tokens": len(prompt),
        "new_tokens": result.new_tokens,
        "finish": result.finish,
        "dialogue_shortened": bool(shortened),
    }
    return json.dumps(line, ensure_ascii=False) + "\n"
