"""ROUGE of a model that is being trained: the one step from training to generation and scoring."""

from yoyak.config.model_config import ModelConfig
from yoyak.data.llm_dataset import LLMSummarizationDataset
from yoyak.errors import UserError


def rouge_on(
    model, tokenizer, data: LLMSummarizationDataset, config: ModelConfig
) -> dict[str, float]:
    """rouge1, rouge2, rougeL: mean F1 × 100 of the summaries that it generates, scored as in a
    study.

    Raises UserError where the examples were loaded from a file, which keeps no summaries.
    """
    from yoyak.generation.summaries import write_summaries
    from yoyak.scoring.scores import score_texts

    if not data.summaries:
        raise UserError(
            "eval_dataset: its summaries are not kept in the file that it was loaded from; "
            "make it with create_llm_dataset to have ROUGE"
        )
    texts = write_summaries(model, tokenizer, data.prompts(), config, data.statistics["format"])
    return score_texts([[summary] for summary in data.summaries], texts, data.language)
