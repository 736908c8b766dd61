"""Summaries by a model that is in memory, and their ROUGE, by the functions of a study's steps."""

from yoyak.config.model_config import ModelConfig
from yoyak.config.study_settings import PRIMARY, Metric
from yoyak.data.control_tokens import decode_summaries
from yoyak.data.llm_dataset import LLMSummarizationDataset
from yoyak.data.prompts import stop_token_ids
from yoyak.errors import UserError
from yoyak.evaluation.decoding import DecodingSettings
from yoyak.evaluation.generation import generate
from yoyak.evaluation.rouge import MEASURES, Rouge
from yoyak.evaluation.scoring import summarise_scores


def write_summaries(
    model, tokenizer, prompts: list[list[int]], config: ModelConfig, prompt_format: str
) -> list[str]:
    """One summary a prompt, in their order.

    Args:
        config: effective model config; `generation` and `execution` are read.

    Raises UserError when no engine is right on this model.
    """
    results = generate(
        model,
        prompts,
        stop_token_ids=stop_token_ids(tokenizer, prompt_format),
        decoding=DecodingSettings.from_config(config),
        batch=config.execution.generation_batch,
        engine=config.execution.engine,
    )
    texts = decode_summaries(tokenizer, [row.tokens for row in results])
    return [text.strip() for text in texts]


def score_summaries(
    model, tokenizer, dataset: LLMSummarizationDataset, config: ModelConfig
) -> dict[str, float]:
    """Mean F1 × 100 of ROUGE-1, -2 and -L (`MEASURES`), one summary a dialogue of `dataset`.

    The tokenizer is the primary one of studies in the dataset's language.

    Args:
        model, tokenizer, config: as write_summaries'.

    Raises UserError as write_summaries does, and where the dataset came from a file, without texts.
    """
    if not dataset.summaries:
        raise UserError(
            "eval_dataset: its summaries are not kept in the file that it was loaded from; make "
            "it with create_llm_dataset to have ROUGE"
        )
    prompt_format = dataset.statistics["format"]
    texts = write_summaries(model, tokenizer, dataset.prompts(), config, prompt_format)
    metric = Metric(primary=PRIMARY[dataset.language], tokenizers=[PRIMARY[dataset.language]])
    references = [[summary] for summary in dataset.summaries]
    scores = Rouge(metric.primary, metric.references).score_all(references, texts)
    found = summarise_scores(scores, metric)
    return {measure: found[measure] for measure in MEASURES}
