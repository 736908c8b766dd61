"""Plots of scores: bars between floors and ceiling, groups of dialogues apart, tokenizers."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from yoyak.config.study import Study
from yoyak.reporting import style
from yoyak.reporting.plot_parts import (
    AXIS,
    SCALE,
    basis,
    condition_marks,
    condition_patches,
    errors,
    interval_sentence,
    seeds_sentence,
    tokenizer_sentence,
)
from yoyak.reporting.results import (
    CEILING,
    OTHER_REFERENCE,
    TOKENIZER_NAMES,
    Row,
    arm,
    best_first_turns,
    context_name,
    dialogue_counts,
    read_context,
    read_table,
    records,
    where,
)

BAR_WIDTH = 0.8  # of the room between two groups of bars
LABEL_GAP = 0.095  # of the axes' height, between two labels of two lines each

_SHORT = {
    "zero_shot": "zero-shot",
    "fine_tuned": "fine-tuned",
    "fine_tuned_templates": "templates",
}
_GROUP_STYLES = [
    dict(color="#15436b", ls="-", marker="o"),
    dict(color="#5b9fd0", ls="--", marker="s"),
    dict(color="#5f6b77", ls=":", marker="D"),
    dict(color="#c9d1d9", ls="-.", marker="^"),
]


def score_bars(study: Study, results: Path) -> tuple[Figure, str]:
    """One group of bars a model and format, one bar a condition, floors and ceiling across."""
    tokenizer = study.settings.metric.primary
    groups = [(model, form) for model in study.models for form in study.formats]
    figure = style.new_figure(max(7.2, 1.7 * len(groups) + 2.4), 4.4)
    axes = figure.subplots()
    width = BAR_WIDTH / len(study.conditions)
    highest = 0.0
    for place, (model, form) in enumerate(groups):
        for position, condition in enumerate(study.conditions):
            row = arm(study, results, tokenizer, model=model, format=form, condition=condition)
            x = place + (position - (len(study.conditions) - 1) / 2) * width
            _draw_bar(axes, x, width * 0.92, row, style.CONDITION_COLOURS[condition])
            highest = max(highest, row["ci_high"])
    highest = max(highest, _context_lines(axes, read_context(results, tokenizer)))
    axes.set_ylim(0, highest * 1.1)
    axes.set_ylabel(AXIS)
    axes.set_xticks(range(len(groups)), [f"{model}\n{form}" for model, form in groups])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    handles = condition_patches(study)
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure, (
        f"{SCALE[0].upper() + SCALE[1:]} of every model, format and condition. "
        f"{basis(study, read_table(results, 'rouge'))}{seeds_sentence(study)} Rust lines are "
        "floors (another dialogue’s reference; the best of the dialogue’s first one to three "
        "turns), the green dotted line is the ceiling, where there are several references."
    )


def group_slopes(study: Study, results: Path) -> tuple[Figure, str] | None:
    """Zero-shot → fine-tuned, each group of dialogues apart; None where the data has no groups."""
    tokenizer = study.settings.metric.primary
    rows = where(read_table(results, "groups"), tokenizer=tokenizer)
    counts = dict(zip(rows["group"], rows["n"], strict=True))
    if len(counts) < 2:
        return None
    names = {name: name if name.isascii() else f"group {i}" for i, name in enumerate(counts, 1)}
    panels = [(model, form) for model in study.models for form in study.formats]
    figure = style.new_figure(max(7.2, 2.1 * len(panels) + 1.2), 3.9)
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    looks = dict(zip(counts, _GROUP_STYLES, strict=False))
    for axes, (model, form) in zip(all_axes, panels, strict=True):
        for number, (name, look) in enumerate(looks.items()):
            shift = 0.06 * (number - (len(looks) - 1) / 2)
            points = [
                _group_arm(rows, model=model, format=form, condition=condition, group=name)
                for condition in study.conditions
            ]
            _draw_slope(axes, points, shift, look)
            _draw_levels(axes, read_context(results, tokenizer, name), look["ls"])
        axes.set_title(f"{model}\n{form}", fontsize=8.5)
        ticks = [_SHORT[condition] for condition in study.conditions]
        axes.set_xticks(range(len(ticks)), ticks, fontsize=7.5)
        axes.set_xlim(-0.35, len(ticks) - 0.65)
    all_axes[0].set_ylim(bottom=0)
    all_axes[0].set_ylabel(AXIS)
    handles = [
        Line2D([], [], mec=style.INK, mew=0.5, label=f"{names[name]} (n = {counts[name]})", **look)
        for name, look in looks.items()
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    _name_levels(all_axes[-1], read_context(results, tokenizer))
    sizes = ", ".join(f"{name}: n = {count}" for name, count in counts.items())
    renamed = "".join(f" “{word}” is {name}." for name, word in names.items() if word != name)
    several = f" Means over {len(study.seeds)} training seeds." if len(study.seeds) > 1 else ""
    return figure, (
        f"From zero-shot to fine-tuned, each group of dialogues apart ({sizes}). "
        f"{tokenizer_sentence(tokenizer)} {interval_sentence(study)}{several} Horizontal lines in "
        "a group’s line style are its floor (another dialogue’s reference) and its ceiling "
        f"(references against each other).{renamed}"
    )


def tokenizers(study: Study, results: Path) -> tuple[Figure, str] | None:
    """The same predictions under each tokenizer; None where the study has only one."""
    names = study.settings.metric.tokenizers
    if len(names) < 2:
        return None
    rouge = read_table(results, "rouge")
    figure = style.new_figure(max(6.4, 1.7 * len(names) + 1.2), 4.2)
    axes = figure.subplots()
    for place, tokenizer in enumerate(names):
        context = read_context(results, tokenizer)
        for key, colour, line in (
            (OTHER_REFERENCE, style.FLOOR, "--"),
            (CEILING, style.CEILING, ":"),
        ):
            if key in context:
                level = [context[key]["rouge_mean"]] * 2
                axes.plot([place - 0.4, place + 0.4], level, color=colour, ls=line, lw=1.8)
        for position, condition in enumerate(study.conditions):
            values = where(rouge, tokenizer=tokenizer, condition=condition)["rouge_mean"]
            x = place + 0.22 * (position - (len(study.conditions) - 1) / 2)
            axes.plot(
                [x] * len(values), values, style.CONDITION_MARKERS[condition],
                color=style.CONDITION_COLOURS[condition], mec=style.INK, mew=0.6, ms=6,
            )  # fmt: skip
    words = [TOKENIZER_NAMES[name].replace(", ", ",\n") for name in names]
    axes.set_xticks(range(len(names)), words)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.55, len(names) - 0.45)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(AXIS)
    handles = condition_marks(study)
    handles.append(Line2D([], [], color=style.FLOOR, ls="--", lw=1.8, label="floor"))
    handles.append(Line2D([], [], color=style.CEILING, ls=":", lw=1.8, label="ceiling"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure, (
        "The same predictions scored under each tokenizer: a ROUGE without its tokenizer and its "
        f"floor says nothing. One mark a run, each over n = {dialogue_counts(rouge)} dialogues; "
        "no interval drawn. Dashed: the floor (another dialogue’s reference); dotted: the ceiling "
        "(references against each other)."
    )


def _draw_bar(axes, x: float, width: float, row: Row, colour: str) -> None:
    mean = row["rouge_mean"]
    axes.bar(x, mean, width, color=colour, edgecolor=style.INK, lw=0.6)
    axes.errorbar(x, mean, errors(row), color=style.INK, lw=1, capsize=2.5)
    axes.annotate(
        f"{mean:.1f}", (x, row["ci_high"]), (0, 3), textcoords="offset points", ha="center",
        fontsize=8, bbox=dict(fc=style.PAPER, lw=0, pad=0.8),
    )  # fmt: skip


def _draw_slope(axes, points: list[Row], shift: float, look: dict) -> None:
    places = [number + shift for number in range(len(points))]
    for x, row in zip(places, points, strict=True):
        axes.errorbar(x, row["rouge_mean"], errors(row), color=style.INK, lw=0.9)
    means = [row["rouge_mean"] for row in points]
    axes.plot(places, means, ms=5, lw=1.6, mec=style.INK, mew=0.5, **look)


def _draw_levels(axes, context: dict[str, Row], line: str) -> None:
    for key, colour in ((OTHER_REFERENCE, style.FLOOR), (CEILING, style.CEILING)):
        if key in context:
            axes.axhline(context[key]["rouge_mean"], color=colour, lw=0.9, ls=line)


def _name_levels(axes, context: dict[str, Row]) -> None:
    """Write floor and ceiling beside their lines: grey print has no colours to tell them apart."""
    for key, colour, word in (
        (OTHER_REFERENCE, style.FLOOR, "floor"),
        (CEILING, style.CEILING, "ceiling"),
    ):
        if key in context:
            axes.annotate(
                word, (1.03, context[key]["rouge_mean"]), xycoords=("axes fraction", "data"),
                color=colour, fontsize=8, va="center", annotation_clip=False,
            )  # fmt: skip


def _group_arm(rows: pd.DataFrame, **run: str) -> Row:
    """A group's row; over several seeds their mean, without an interval."""
    found = where(rows, **run)
    if len(found) == 1:
        return records(found)[0]
    return {"rouge_mean": found["rouge_mean"].mean(), "ci_low": None, "ci_high": None}


def _context_lines(axes, context: dict[str, Row]) -> float:
    """Draw floors and ceiling across the axes, named beside them; returns the highest value."""
    turns = best_first_turns(context)
    first = context_name(turns["name"]).removeprefix("the dialogue’s ") if turns else ""
    lines = [
        (row["rouge_mean"], colour, line, f"{word} {row['rouge_mean']:.1f}")
        for row, colour, line, word in (
            (
                context.get(OTHER_REFERENCE),
                style.FLOOR,
                "--",
                "floor: another\ndialogue’s reference",
            ),
            (turns, style.FLOOR, (0, (5, 3, 1, 3)), f"floor: the dialogue’s\n{first}"),
            (context.get(CEILING), style.CEILING, ":", "ceiling: references\nagainst each other"),
        )
        if row
    ]
    values = [value for value, *_ in lines]
    top = max([axes.get_ylim()[1], *values])
    places = style.spread(values, gap=top * LABEL_GAP)
    for (value, colour, line, word), place in zip(lines, places, strict=True):
        axes.axhline(value, color=colour, ls=line, lw=1.2)
        axes.annotate(
            word, (1.01, place), xycoords=("axes fraction", "data"), color=colour, fontsize=8,
            va="center", annotation_clip=False,
        )  # fmt: skip
    return max(values, default=0.0)
