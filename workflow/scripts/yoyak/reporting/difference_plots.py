"""Plots of what fine-tuning changes: paired differences, and quality against training cost."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from yoyak.config.study import ZERO_SHOT, Study
from yoyak.reporting import style, tables
from yoyak.reporting.plot_parts import (
    basis,
    broken,
    condition_patches,
    errors,
    seeds_sentence,
    tokenizer_sentence,
)
from yoyak.reporting.results import (
    Row,
    comparison_name,
    dialogue_counts,
    one,
    read_table,
    records,
    where,
)
from yoyak.reporting.texts import Texts, texts_of

BLOCK_GAP = 1.4  # lines between two comparisons
UNITS = ((3 * 3600, "hours", 3600), (180, "minutes", 60), (0, "seconds", 1))  # from, name, seconds

RUN = list(tables.RUN)
_FORMAT_MARKERS = {"instruction": "s", "chat": "o"}


def differences(study: Study, results: Path) -> tuple[Figure, str]:
    """Forest plot with intervals; a mark is filled if its interval excludes 0."""
    texts, tokenizer = texts_of(study), study.settings.metric.primary
    rows = where(read_table(results, "differences"), tokenizer=tokenizer)
    blocks = rows.groupby("comparison", sort=False)
    several = len(study.variants) > 1
    longest = max(len(difference_name(texts, row, several)) for row in records(rows))
    height = 0.27 * (len(rows) + BLOCK_GAP * len(blocks)) + 0.9
    figure = style.new_figure(max(8.2, 4.5 + 0.075 * longest), height)
    axes = figure.subplots()
    y, ticks, labels = 0.0, [], []
    for name, block in blocks:
        axes.annotate(
            comparison_name(texts, name), (0, y), xycoords=("axes fraction", "data"),
            xytext=(-4, 0), textcoords="offset points", ha="right", va="center",
            fontweight="bold", fontsize=8.5,
        )  # fmt: skip
        for row in records(block):
            y += 1
            _forest_line(axes, row, y)
            ticks.append(y)
            labels.append(difference_name(texts, row, several))
        y += BLOCK_GAP
    axes.axvline(0, color=style.INK, lw=0.9)
    axes.set_yticks(ticks, labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(y - 0.7, -0.8)
    axes.grid(axis="x")
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(texts("plots.difference_axis"))
    methods = "; ".join(texts.recorded(one) for one in rows["method"].dropna().unique())
    return figure, texts(
        "plots.differences",
        n=dialogue_counts(texts, rows),
        tokenizer=tokenizer_sentence(study),
        seeds=seeds_sentence(study),
        methods=methods,
    )


def cost(study: Study, results: Path) -> tuple[Figure, str]:
    """ROUGE against the wall time that training took; zero-shot stands at no cost."""
    texts, tokenizer = texts_of(study), study.settings.metric.primary
    rouge = where(read_table(results, "rouge"), tokenizer=tokenizer)
    training = where(read_table(results, "resources"), step="train")
    longest = training["wall_seconds"].max()
    unit, size = next((name, size) for least, name, size in UNITS if longest >= least)
    timed = rouge.merge(training[[*RUN, "wall_seconds"]], how="left", on=RUN)
    timed = timed.fillna({"wall_seconds": 0.0})  # of zero-shot
    figure = style.new_figure(max(6.4, 3.1 * len(study.models) + 0.8), 3.6)
    all_axes = figure.subplots(1, len(study.models), sharex=True, sharey=True, squeeze=False)[0]
    for axes, model in zip(all_axes, study.models, strict=True):
        for form in study.formats:
            rows = where(timed, model=model, format=form)
            start = one(rows, condition=ZERO_SHOT)["rouge_mean"]
            for row in records(rows):
                x, mean = row["wall_seconds"] / size, row["rouge_mean"]
                axes.plot([0, x], [start, mean], color=style.MUTED, lw=0.7, zorder=1)
                axes.errorbar(
                    x, mean, errors(row), fmt=_FORMAT_MARKERS[form], ms=6.5, mew=0.6,
                    mec=style.INK, color=style.CONDITION_COLOURS[row["condition"]],
                    ecolor=style.INK, elinewidth=0.9,
                )  # fmt: skip
        axes.set_title(broken(model, 28))
        axes.set_xlabel(texts(f"plots.{unit}"))
        axes.xaxis.set_major_locator(MaxNLocator(5))
    all_axes[0].set_ylim(bottom=0)
    all_axes[0].set_ylabel(texts("plots.axis"))
    handles = condition_patches(study) + [
        Line2D([], [], ls="", marker=_FORMAT_MARKERS[form], color=style.MUTED, ms=6, label=form)
        for form in study.formats
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    devices = ", ".join(sorted(training["device"].dropna().unique())) or texts("plots.unknown")
    return figure, texts("plots.cost", devices=devices, basis=basis(study, rouge))


def difference_name(texts: Texts, row: Row, variants: bool = False) -> str:
    """Name of a difference, without what its comparison already says.

    variants: the study has several.
    """
    parts = [row["model"], *([row["variant"]] if variants and row["variant"] else [])]
    if row["comparison"] != "chat-instruction":
        parts.append(row["format"])
    if row["comparison"] != "fine_tuned_templates-fine_tuned":
        parts.append(texts(f"conditions.{row['condition']}"))
    return " · ".join(parts)


def _forest_line(axes, row: Row, y: float) -> None:
    value, low, high = (row[key] for key in ("difference", "ci_low", "ci_high"))
    colour = style.CONDITION_COLOURS["fine_tuned_templates"]
    known = low is not None and high is not None
    face = colour if known and (low > 0 or high < 0) else style.PAPER
    if known:
        axes.plot([low, high], [y, y], color=style.INK, lw=1.2)
    axes.plot(value, y, "o", ms=6, color=colour, mfc=face, mew=1.2)
    axes.annotate(
        (f"{value:+z.2f}" + (f"  [{low:+z.2f}, {high:+z.2f}]" if known else "")).replace("-", "−"),
        (1.01, y),
        xycoords=("axes fraction", "data"), fontsize=8, va="center", annotation_clip=False,
    )  # fmt: skip
