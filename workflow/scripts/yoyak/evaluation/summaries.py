"""Summaries by a model that is in memory, and their ROUGE, by the functions of a study's steps."""

import tempfile
from pathlib import Path

from yoyak.config.model_config import ModelConfig
from yoyak.config.study_settings import PRIMARY, Metric
from yoyak.data.control_tokens import decode_summaries
from yoyak.data.llm_dataset import LLMSummarizationDataset
from yoyak.data.prompts import stop_token_ids
from yoyak.errors import UserError
from yoyak.evaluation.decoding import DecodingSettings
from yoyak.evaluation.loading import LoadingPlan
from yoyak.evaluation.resumable import Session
from yoyak.evaluation.rouge import MEASURES, Rouge
from yoyak.evaluation.scoring import summarise_scores
from yoyak.run.execution import Plan


def write_summaries(
    model,
    tokenizer,
    prompts: list[list[int]],
    config: ModelConfig,
    prompt_format: str,
    loading: LoadingPlan,
) -> list[str]:
    """One summary a prompt, in their order; nothing is left to resume from.

    Args:
        config: effective model config; `generation` and `execution` are read.
        loading: how the model was loaded.

    Raises UserError when no engine is right on this model.
    """
    decoding = DecodingSettings.from_config(config)
    stops, execution = stop_token_ids(tokenizer, prompt_format), config.execution
    with tempfile.TemporaryDirectory() as work:
        session = Session(Path(work), loading)
        session.prepare(
            model, prompts, decoding, stops, execution.generation_batch, execution.engine
        )
        results = session.generate(prompts, Path(work) / "rows.jsonl", lambda *_: None)
    texts = decode_summaries(tokenizer, [row.tokens for row in results])
    return [text.strip() for text in texts]


def score_summaries(
    model, tokenizer, dataset: LLMSummarizationDataset, config: ModelConfig, plan: Plan
) -> dict[str, float]:
    """Mean F1 × 100 of ROUGE-1, -2 and -L (`MEASURES`), one summary a dialogue of `dataset`.

    The tokenizer is the primary one of studies in the dataset's language.

    Args:
        model, tokenizer, config: as write_summaries'. plan: of the training, for a loaded model.

    Raises UserError as write_summaries does, and where the dataset came from a file, without texts.
    """
    if not dataset.summaries:
        raise UserError(
            "eval_dataset: its summaries are not kept in the file that it was loaded from; make "
            "it with create_llm_dataset to have ROUGE"
        )
    prompt_format = dataset.statistics["format"]
    loading = LoadingPlan(plan.device, plan.threads, plan.compute_dtype, plan.base_weights)
    texts = write_summaries(model, tokenizer, dataset.prompts(), config, prompt_format, loading)
    metric = Metric(primary=PRIMARY[dataset.language], tokenizers=[PRIMARY[dataset.language]])
    references = [[summary] for summary in dataset.summaries]
    scores = Rouge(metric.primary, metric.references).score_all(references, texts)
    found = summarise_scores(scores, metric)
    return {measure: found[measure] for measure in MEASURES}
