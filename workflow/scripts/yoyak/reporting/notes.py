"""What stands below each table: how its numbers were made, and what they do not say."""

from yoyak.config.study_settings import Metric
from yoyak.reporting.results import LOSS_FALL, UNCHANGED

_WHO = (
    "Scores are F1 × 100; rouge_mean is the mean of ROUGE-1, -2 and -L and rouge_sum their sum. "
    "n counts dialogues. seed, steps and supervised tokens belong to training: zero-shot has none."
)


def table_notes(
    metric: Metric, summary: dict, comparisons: int, flips: int, warned: dict[str, int]
) -> dict[str, str]:
    """Note of each table.

    Args:
        metric: the study's metric settings.
        summary: any run's scores/summary.json; all have the same signatures.
        comparisons: rows of the table of differences.
        flips: random sign changes of the paired test.
        warned: what trainings were warned of when they began, and how many of them.
    """
    resamples = f"{metric.resamples:,}"
    interval = (
        f"ci_low and ci_high: {summary['interval']['method']} of rouge_mean, {resamples} resamples."
    )
    warnings = "".join(f"Warning for {n} of the trainings: {text}. " for text, n in warned.items())
    signatures = "\n".join(
        f"- {name}: `{scores['signature']}`" for name, scores in summary["tokenizers"].items()
    )
    primary = f"The primary tokenizer is {metric.primary}. Signatures:\n\n{signatures}"
    paired = (
        "difference is in rouge_mean, paired over dialogues; ci_low and ci_high: "
        f"{summary['interval']['method']}, {resamples} resamples. p_value: two-sided sign-flip "
        f"test, {flips:,} flips. p_holm: after Holm's correction over all rows of the table"
    )
    return {
        "rouge": f"{_WHO} {interval} {warnings}{primary}",
        "groups": f"{_WHO} {interval} Groups are the data's. {primary}",
        "differences": f"{paired} ({comparisons}). steps and supervised_tokens are the first-named "
        "side's.",
        "group_differences": f"{paired}. steps and supervised_tokens are the first-named side's.",
        "context": "floor_constant: one training summary for every dialogue, the medoid of at most "
        "500. floor_nearest: the summary of the training dialogue that BM25 finds nearest. "
        "floor_other_reference: the first reference of other dialogues of the group, averaged over "
        f"30 shifts of one permutation (seed {metric.seed}). floor_first_turn_N: the dialogue's "
        "first N turns with tags. human_agreement: each reference against the same dialogue's "
        f"others, over dialogues that have several. {interval}",
        "levels": "difference: from the strongest floor, the one from which the run's paired "
        "difference in rouge_mean is smallest; ci_low is the lowest over all floors: above 0 the "
        f"run lies above every one of them. {summary['interval']['method']}, {resamples} "
        "resamples; not adjusted for the number of rows. share: of the way from that floor to "
        "human agreement, empty where people do not score above the floor. human_difference: "
        "from human agreement, paired, both against all references but one.",
        "diagnostics": f"Means over dialogues; n-grams are of {metric.primary} tokens. "
        "length_ratio: characters of the prediction over those of the references' mean. "
        "length_limit_rate: cut at the token limit. repeated_ngram_rate: share of trigrams that "
        "occurred before in the same prediction. hangul_share: of the letters outside tags. "
        "tag_precision, tag_recall: distinct speaker tags, averaged over references. "
        "novel_bigram_rate: share of distinct bigrams that the dialogue lacks. "
        "unchanged_rate: share of the predictions that are the zero-shot ones, and loss_fall: by "
        "which share the training loss fell, first tenth of the steps against the last; at "
        f"{UNCHANGED} and more, or below {LOSS_FALL}, the model was hardly trained. "
        "prompts_shortened: number of dialogues cut to fit.",
        "resources": "Wall time of the whole step; tokens_per_second are useful tokens; "
        "peak_memory_gb is the GPU's where there is one, else the process's. "
        "expected_gpu_memory_gb is what the model's file expects with 4-bit weights. engine: how "
        "it was computed, after a check against transformers' own forward (numbers: run.json). "
        "skipped_steps: optimiser steps left out because float16 gradients overflowed.",
        "quoted": "Quoted beside the results, not comparable with them: these sources do not state "
        "tokenizer, handling of several references or data split, and the sums do not match their "
        "own parts. A sum means nothing without the floor that belongs to its tokenizer: see the "
        "table of floors and human agreement.",
        "seeds": "rouge_mean ± sd over training seeds. ci_low and ci_high: hierarchical bootstrap "
        f"that draws seeds and dialogues, {resamples} resamples. difference: from zero-shot of the "
        "same model and format, with the same kind of interval.",
    }
