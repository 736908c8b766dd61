"""Parts that several plots share: legends, error bars, and sentences of captions."""

import textwrap

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from yoyak.config.study import Study
from yoyak.reporting.results import Row, dialogue_counts, where
from yoyak.reporting.style import CONDITION_COLOURS, CONDITION_MARKERS, INK
from yoyak.reporting.texts import texts_of


def broken(name: str, width: int) -> str:
    """A name wrapped to `width` characters, at blanks and after underscores."""
    return "\n".join(
        line.replace("_ ", "_") for line in textwrap.wrap(name.replace("_", "_ "), width)
    )


def condition_patches(study: Study) -> list[Patch]:
    """Legend of the conditions as filled boxes."""
    texts = texts_of(study)
    return [
        Patch(
            facecolor=CONDITION_COLOURS[name],
            edgecolor=INK,
            lw=0.6,
            label=texts(f"conditions.{name}"),
        )
        for name in study.conditions
    ]


def condition_marks(study: Study) -> list[Line2D]:
    """Legend of the conditions as marks."""
    texts = texts_of(study)
    return [
        Line2D([], [], ls="", marker=CONDITION_MARKERS[name], color=CONDITION_COLOURS[name],
               mec=INK, mew=0.6, ms=6, label=texts(f"conditions.{name}"))
        for name in study.conditions
    ]  # fmt: skip


def errors(row: Row) -> list[list[float]] | None:
    """Error bar lengths below and above rouge_mean, for matplotlib; None without interval."""
    mean, low, high = (row[key] for key in ("rouge_mean", "ci_low", "ci_high"))
    if low is None or high is None:
        return None
    return [[max(0.0, mean - low)], [max(0.0, high - mean)]]


def tokenizer_sentence(study: Study) -> str:
    texts = texts_of(study)
    name = texts(f"tokenizers.{study.settings.metric.primary}")
    return texts("plots.tokenizer", tokenizer=name)


def interval_sentence(study: Study) -> str:
    return texts_of(study)("plots.whiskers", resamples=f"{study.settings.metric.resamples:,}")


def basis(study: Study, rouge: pd.DataFrame) -> str:
    """n, tokenizer and interval of scores under the primary tokenizer."""
    texts = texts_of(study)
    rows = where(rouge, tokenizer=study.settings.metric.primary)
    tokenizer, whiskers = tokenizer_sentence(study), interval_sentence(study)
    n = dialogue_counts(texts, rows)
    return texts("plots.basis", n=n, tokenizer=tokenizer, whiskers=whiskers)


def seeds_sentence(study: Study) -> str:
    """What a value stands for where the study has several seeds; empty with one."""
    if len(study.seeds) == 1:
        return ""
    texts = texts_of(study)
    of_each = {name: len(study.seeds_of(name)) for name in study.variants}
    counts = set(of_each.values())
    if len(counts) > 1:
        named = ", ".join(f"{count} ({name})" for name, count in of_each.items())
        return " " + texts("plots.seeds_differ", counts=named)
    key = "plots.two_seeds" if counts == {2} else "plots.several_seeds"
    return " " + texts(key, n=len(study.seeds))
