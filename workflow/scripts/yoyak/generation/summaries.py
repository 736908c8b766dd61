"""Generate summaries with a loaded model."""

from yoyak.config.model_config import ModelConfig
from yoyak.data.control_tokens import decode_summaries
from yoyak.data.prompts import stop_token_ids
from yoyak.generation.decoding import DecodingSettings
from yoyak.generation.engines import generate


def write_summaries(
    model, tokenizer, prompts: list[list[int]], config: ModelConfig, prompt_format: str
) -> list[str]:
    """One summary per prompt, in order.

    Args:
        config: effective model config; `generation` and `execution` are read.

    Raises UserError when no engine is correct for this model.
    """
    results = generate(
        model,
        prompts,
        stop_token_ids=stop_token_ids(tokenizer, prompt_format),
        decoding=DecodingSettings.from_config(config),
        batch=config.execution.generation_batch,
        engine=config.execution.engine,
        batch_invariant=config.execution.batch_invariant,
    )
    texts = decode_summaries(tokenizer, [row.tokens for row in results])
    return [text.strip() for text in texts]
