"""The note below each table: how its numbers were computed, and what they do not show."""

from yoyak.config.study_settings import Metric
from yoyak.reporting.results import LOSS_FALL, UNCHANGED

_WHO = (
    "Scores are F1 × 100; rouge_mean is the mean of ROUGE-1, -2 and -L and rouge_sum their sum. "
    "n counts dialogues. seed, steps and supervised tokens belong to training alone."
)


def table_notes(
    metric: Metric, summary: dict, flips: int, warned: dict[str, int]
) -> dict[str, str]:
    """Note of each table.

    Args:
        metric: the study's metric settings.
        summary: any run's scores/summary.json; all have the same signatures.
        flips: random sign changes of the paired test.
        warned: warnings at the start of trainings, and the number of trainings for each.
    """
    resamples = f"{metric.resamples:,}"
    interval = (
        f"ci_low and ci_high: {summary['interval']['method']} of rouge_mean, {resamples} resamples."
    )
    warnings = "".join(f"Warning for {n} of the trainings: {text}. " for text, n in warned.items())
    signatures = "\n".join(
        f"- {name}: `{scores['signature']}`" for name, scores in summary["scores"].items()
    )
    primary = f"The primary tokenizer is {metric.primary}. Signatures:\n\n{signatures}"
    over = (
        "With one seed it is over other dialogues alone (t over clusters where they repeat, else "
        f"bootstrap, {resamples} resamples): training noise is outside. From three seeds on it is "
        "over other seeds and other dialogues; two seeds have none"
    )
    paired = (
        "difference is in rouge_mean, paired over dialogues and seeds. ci_low and ci_high: 95 %, "
        f"not adjusted for the number of rows. {over}. sd: over seeds. clusters: of dialogues"
    )
    return {
        "rouge": f"{_WHO} {interval} {warnings}{primary}",
        "groups": f"{_WHO} {interval} Groups are the data's. {primary}",
        "questions": "One difference for each question, the mean over its trainings, in "
        f"{metric.primary}. The questions are tested in this order, each at 5 % where those before "
        "it are decided (fixed sequence), so that no more than 5 % of studies without any "
        "difference claim one. p_value: with one seed, sign flips of clusters of dialogues (all, "
        f"or {flips:,} at random), of these trainings alone; from three seeds on, crossed effects. "
        "detectable: the smallest true difference that 80 % of such studies detect. "
        f"ci_low and ci_high: 95 %, not adjusted. {over}. docs/validity.md says why.",
        "methods": "Model, format and condition over all seeds, by rouge_mean in "
        f"{metric.primary}. difference: the best method's mean minus the row's, paired over "
        f"dialogues and seeds. ci_low and ci_high: 95 %, not adjusted. {over}. detectable: the "
        "smallest true difference that 80 % of such studies detect.",
        "differences": f"{paired}. Nothing is tested here: see the table of questions.",
        "group_differences": f"{paired}. Nothing is tested here: see the table of questions.",
        "context": "floor_constant: one training summary for every dialogue, the medoid of at most "
        "500. floor_nearest: the summary of the training dialogue that BM25 finds nearest. "
        "floor_other_reference: the first reference of other dialogues of the group, averaged over "
        f"30 shifts of one permutation (seed {metric.seed}). floor_first_turn_N: the dialogue's "
        "first N turns with tags. falsified_…: the falsified first reference, against the "
        "dialogue's others (or itself, where it is alone). human_agreement: each reference against "
        f"the same dialogue's others, over dialogues that have several. {interval}",
        "levels": "difference: from the strongest floor, the one from which the run's paired "
        "difference in rouge_mean is smallest; ci_low and ci_high are the lowest over all floors: "
        "with ci_low above 0 the run lies above every one of them. "
        f"{summary['interval']['method']}, {resamples} resamples; not adjusted for the number of "
        "rows. Rows of a training without a seed: each dialogue's mean over the seeds. share: of "
        "the way from that floor to "
        "human agreement, empty where human agreement is not above the floor. human_difference: "
        "from human agreement, paired, both against all references but one.",
        "metrics": "Every metric on a scale of 0–100; the primary score is ROUGE in "
        f"{metric.primary}. name: a score, its paired difference from the strongest floor "
        "or from another run, or a floor, a reference made false, human agreement, as in the "
        "tables of ROUGE. ci_low and ci_high: 95 %, not adjusted. p_value: of the difference over "
        "all trainings; confirmatory under the primary score alone (the first row of questions), "
        "under others a sensitivity analysis, not adjusted for their number: no claim rests on it. "
        f"Points of different metrics are not comparable.\n\n{signatures}",
        "diagnostics": f"Means over dialogues; n-grams are of {metric.primary} tokens. "
        "people: the first references, their lengths over those of the others. "
        "unfounded_number_rate: of the texts that name a number, day or time, the share with one "
        "that the dialogue lacks. own_words_share: of the sentences about one speaker, the share "
        "whose nouns are more that speaker's than the others'; nouns that nobody said are not. "
        "unknown_words_rate: share of the nouns that neither the dialogue nor a training summary "
        "has (English: of all words but those of grammar). "
        "length_ratio: characters of the prediction over those of the references' mean. "
        "length_limit_rate: cut at the token limit. repeated_ngram_rate: share of trigrams that "
        "occurred before in the same prediction. hangul_share: of the letters outside tags. "
        "novel_bigram_rate: share of distinct bigrams that the dialogue lacks. "
        "unchanged_rate: share of the predictions that are the zero-shot ones, and loss_fall: by "
        "which share the training loss fell, first tenth of the steps against the last; at "
        f"{UNCHANGED} and more, or below {LOSS_FALL}, the model was hardly trained. "
        "prompts_shortened: number of dialogues truncated.",
        "resources": "Wall time of the whole step; tokens_per_second are useful tokens; "
        "peak_memory_gb is the GPU's where there is one, else the process's. "
        "expected_gpu_memory_gb is what the model's file expects with 4-bit weights. engine: how "
        "it was computed, after a check against transformers' own forward (numbers: run.json). "
        "skipped_steps: optimiser steps left out because float16 gradients overflowed.",
        "quoted": "Quoted beside the results, not comparable with them: these sources do not state "
        "tokenizer, handling of several references or data split, and the sums do not match their "
        "own parts. A sum means nothing without the floor that belongs to its tokenizer: see the "
        "table of floors and human agreement.",
        "seeds": "Means over training seeds, sd of rouge_mean over them. ci_low and ci_high: 95 % "
        "over other seeds and other dialogues (crossed effects), none with two seeds. difference: "
        "from zero-shot of the same model and format, with the same kind of interval.",
    }
