"""Parts that several plots share: legends, error bars, and sentences of captions."""

import textwrap

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from yoyak.config.study import Study
from yoyak.reporting.results import CONDITION_NAMES, TOKENIZER_NAMES, Row, dialogue_counts, where
from yoyak.reporting.style import CONDITION_COLOURS, CONDITION_MARKERS, INK

SCALE = "mean of ROUGE-1, -2 and -L (F1 × 100)"
AXIS = "ROUGE mean × 100"


def broken(name: str, width: int) -> str:
    """A name wrapped to `width` characters, at blanks and after underscores."""
    return "\n".join(
        line.replace("_ ", "_") for line in textwrap.wrap(name.replace("_", "_ "), width)
    )


def condition_patches(study: Study) -> list[Patch]:
    """Legend of the conditions as filled boxes."""
    return [
        Patch(facecolor=CONDITION_COLOURS[name], edgecolor=INK, lw=0.6, label=CONDITION_NAMES[name])
        for name in study.conditions
    ]


def condition_marks(study: Study) -> list[Line2D]:
    """Legend of the conditions as marks."""
    return [
        Line2D([], [], ls="", marker=CONDITION_MARKERS[name], color=CONDITION_COLOURS[name],
               mec=INK, mew=0.6, ms=6, label=CONDITION_NAMES[name])
        for name in study.conditions
    ]  # fmt: skip


def errors(row: Row) -> list[list[float]] | None:
    """Error bar lengths below and above rouge_mean, for matplotlib; None without interval."""
    mean, low, high = (row[key] for key in ("rouge_mean", "ci_low", "ci_high"))
    if low is None or high is None:
        return None
    return [[max(0.0, mean - low)], [max(0.0, high - mean)]]


def tokenizer_sentence(name: str) -> str:
    return f"Tokenizer: {TOKENIZER_NAMES[name]}."


def interval_sentence(study: Study) -> str:
    resamples = f"{study.settings.metric.resamples:,} resamples"
    return f"Whiskers are 95 % intervals over dialogues ({resamples} where no cluster repeats)."


def basis(study: Study, rouge: pd.DataFrame) -> str:
    """n, tokenizer and interval of scores under the primary tokenizer."""
    tokenizer = study.settings.metric.primary
    n = dialogue_counts(where(rouge, tokenizer=tokenizer))
    return f"n = {n} dialogues. {tokenizer_sentence(tokenizer)} {interval_sentence(study)}"


def seeds_sentence(study: Study) -> str:
    """What a value stands for where the study has several seeds; empty with one."""
    if len(study.seeds) == 1:
        return ""
    of_each = {name: len(study.seeds_of(name)) for name in study.variants}
    counts = set(of_each.values())
    if len(counts) > 1:
        named = ", ".join(f"{count} ({name})" for name, count in of_each.items())
        return (
            f" Fine-tuned values are means over training seeds: {named}. Intervals are over other "
            "seeds from three on, of one seed over dialogues alone."
        )
    means = f" Fine-tuned values are means over {len(study.seeds)} training seeds"
    if counts == {2}:
        return f"{means}; two seeds allow no interval."
    return f"{means}; their intervals are over other seeds and other dialogues."
