"""Plots of scores: bars beside floor and human agreement, groups of dialogues, tokenizers."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from yoyak.config.study import Study
from yoyak.reporting import style
from yoyak.reporting.plot_parts import (
    basis,
    broken,
    condition_marks,
    condition_patches,
    errors,
    interval_sentence,
    seeds_sentence,
    tokenizer_sentence,
)
from yoyak.reporting.results import (
    HUMAN,
    Row,
    context_name,
    dialogue_counts,
    read_context,
    read_table,
    records,
    score_row,
    strongest_floor,
    where,
)
from yoyak.reporting.texts import Texts, texts_of

LINE_INCHES = 0.2  # of a bar, or of the name above a block of bars
BLOCK_LINES = 1.4  # of a block, beside its bars

_FLOOR, _PEOPLE = "levels.strongest_floor", "levels.human_agreement"  # in texts.yaml
_LEVELS = {_FLOOR: (style.FLOOR, "--"), _PEOPLE: (style.HUMAN, ":")}  # colour, line
_WIDTHS = {_FLOOR: 0.9, _PEOPLE: 2.0}  # distinct in grey print; line styles stand for groups
_GROUP_STYLES = [
    dict(color="#15436b", ls="-", marker="o"),
    dict(color="#4a8fc4", ls="--", marker="s"),
    dict(color="#5f6b77", ls=":", marker="D"),
    dict(color="#e8edf1", ls="-.", marker="^"),
]


def score_bars(study: Study, results: Path) -> tuple[Figure, str]:
    """Bars of each condition, in blocks of model and format; lines: strongest floor, human
    agreement.

    Bars are horizontal, so that long names fit on a narrow screen.
    """
    texts, tokenizer = texts_of(study), study.settings.metric.primary
    groups = [(model, form) for model in study.models for form in study.formats]
    lines = len(groups) * (len(study.score_rows) + BLOCK_LINES)
    figure = style.new_figure(5.2, LINE_INCHES * lines + 1.5)
    axes = figure.subplots()
    y, highest = 0.0, 0.0
    for model, form in groups:
        axes.annotate(
            f"{model} · {form}", (0, y), (2, 0), textcoords="offset points", va="center",
            fontsize=8.5, bbox=dict(fc=style.PAPER, lw=0, pad=0.8),
        )  # fmt: skip
        for place, (condition, variant) in enumerate(study.score_rows, start=1):
            run = {"model": model, "variant": variant, "format": form, "condition": condition}
            row = score_row(study, results, tokenizer, **run)
            end = row["rouge_mean"] if row["ci_high"] is None else row["ci_high"]
            named = f"  {variant}" if variant and len(study.variants) > 1 else ""
            _draw_bar(axes, y + place, row, end, style.CONDITION_COLOURS[condition], named)
            highest = max(highest, end * (1 + 0.02 * len(named)))
        y += len(study.score_rows) + BLOCK_LINES
    levels = _context_lines(texts, axes, read_context(results, tokenizer))
    axes.set_xlim(0, 1.12 * max(highest, *(level.get_xdata()[0] for level in levels)))
    axes.set_ylim(y - 0.6, -0.7)
    axes.set_yticks([])
    axes.set_xlabel(texts("plots.axis"))
    axes.grid(axis="x")
    handles = condition_patches(study)
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    figure.legend(handles=levels, loc="outside lower left")
    return figure, texts(
        "plots.scores",
        basis=basis(study, read_table(results, "rouge")),
        seeds=seeds_sentence(study),
        lines="; ".join(level.get_label() for level in levels),
    )


def group_slopes(study: Study, results: Path) -> tuple[Figure, str] | None:
    """Zero-shot → fine-tuned for each group of dialogues; None if the data has no groups."""
    texts, tokenizer = texts_of(study), study.settings.metric.primary
    rows = where(read_table(results, "groups"), tokenizer=tokenizer)
    counts = dict(zip(rows["group"], rows["n"], strict=True))
    if len(counts) < 2:
        return None
    names = {
        name: name if style.drawable(name) else texts("plots.group", n=i)
        for i, name in enumerate(counts, 1)
    }
    panels = [(model, form) for model in study.models for form in study.formats]
    figure = style.new_figure(max(7.2, 2.1 * len(panels) + 1.2), 3.9)
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    looks = dict(zip(counts, _GROUP_STYLES, strict=False))
    for axes, (model, form) in zip(all_axes, panels, strict=True):
        for number, (name, look) in enumerate(looks.items()):
            shift = 0.06 * (number - (len(looks) - 1) / 2)
            points = [
                _group_row(
                    rows, model=model, variant=variant, format=form, condition=condition, group=name
                )
                for condition, variant in study.score_rows
                if variant in (None, study.variants[0])
            ]
            _draw_slope(axes, points, shift, look)
            _draw_levels(axes, read_context(results, tokenizer, name), look["ls"])
        axes.set_title(f"{broken(model, 22)}\n{form}", fontsize=8.5)
        ticks = [_short(texts, condition) for condition in study.conditions]
        axes.set_xticks(range(len(ticks)), ticks, fontsize=7.5)
        axes.set_xlim(-0.35, len(ticks) - 0.65)
    all_axes[0].set_ylim(bottom=0)
    all_axes[0].set_ylabel(texts("plots.axis"))
    handles = [
        Line2D([], [], mec=style.INK, mew=0.5, label=f"{names[name]} (n = {counts[name]})", **look)
        for name, look in looks.items()
    ]
    handles += [
        Line2D([], [], color=_LEVELS[word][0], lw=_WIDTHS[word], label=texts(word))
        for word in _levels(read_context(results, tokenizer))
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(looks) + 2)
    sizes = ", ".join(f"{name}: n = {count}" for name, count in counts.items())
    renamed = "".join(
        texts("plots.renamed", word=word, name=name) for name, word in names.items() if word != name
    )
    seeds, several = len(study.seeds_of(study.variants[0])), len(study.variants) > 1
    return figure, texts(
        "plots.groups",
        sizes=sizes,
        tokenizer=tokenizer_sentence(study),
        whiskers=interval_sentence(study),
        seeds=texts("plots.groups_seeds", n=seeds) if seeds > 1 else "",
        variant=texts("plots.groups_variant", variant=study.variants[0]) if several else "",
        renamed=renamed,
    )


def tokenizers(study: Study, results: Path) -> tuple[Figure, str] | None:
    """The same predictions under each tokenizer; None if the study has only one."""
    texts, names = texts_of(study), study.settings.metric.tokenizers
    if len(names) < 2:
        return None
    rouge = read_table(results, "rouge")
    figure = style.new_figure(max(6.4, 1.7 * len(names) + 1.2), 4.2)
    axes = figure.subplots()
    for place, tokenizer in enumerate(names):
        levels = _levels(read_context(results, tokenizer))
        for word, row in levels.items():
            level, (colour, line) = [row["rouge_mean"]] * 2, _LEVELS[word]
            axes.plot([place - 0.4, place + 0.4], level, color=colour, ls=line, lw=1.8)
        for position, condition in enumerate(study.conditions):
            values = where(rouge, tokenizer=tokenizer, condition=condition)["rouge_mean"]
            x = place + 0.22 * (position - (len(study.conditions) - 1) / 2)
            axes.plot(
                [x] * len(values), values, style.CONDITION_MARKERS[condition],
                color=style.CONDITION_COLOURS[condition], mec=style.INK, mew=0.6, ms=6,
            )  # fmt: skip
    words = [texts(f"tokenizers.{name}").replace(", ", ",\n") for name in names]
    axes.set_xticks(range(len(names)), words)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.55, len(names) - 0.45)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(texts("plots.axis"))
    handles = condition_marks(study)
    for word in levels:
        colour, line = _LEVELS[word]
        handles.append(Line2D([], [], color=colour, ls=line, lw=1.8, label=texts(word)))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    return figure, texts("plots.tokenizers", n=dialogue_counts(texts, rouge))


def _draw_bar(axes, y: float, row: Row, end: float, colour: str, named: str) -> None:
    """A bar with its whiskers, its value and name after them."""
    mean = row["rouge_mean"]
    axes.barh(y, mean, 0.86, color=colour, edgecolor=style.INK, lw=0.6)
    for colour, width in ((style.PAPER, 2.6), (style.INK, 1)):  # to be seen on a dark bar
        axes.errorbar(
            mean, y, xerr=errors(row), color=colour, lw=width, capsize=2.5, capthick=width
        )
    axes.annotate(
        f"{mean:.1f}{named}", (end, y), (4, 0), textcoords="offset points", va="center",
        fontsize=8, bbox=dict(fc=style.PAPER, lw=0, pad=0.8),
    )  # fmt: skip


def _draw_slope(axes, points: list[Row], shift: float, look: dict) -> None:
    places = [number + shift for number in range(len(points))]
    for x, row in zip(places, points, strict=True):
        axes.errorbar(x, row["rouge_mean"], errors(row), color=style.INK, lw=0.9)
    means = [row["rouge_mean"] for row in points]
    axes.plot(places, means, ms=5, lw=1.6, mec=style.INK, mew=0.5, **look)


def _draw_levels(axes, context: dict[str, Row], line: str) -> None:
    for word, row in _levels(context).items():
        axes.axhline(row["rouge_mean"], color=_LEVELS[word][0], lw=_WIDTHS[word], ls=line)


def _levels(context: dict[str, Row]) -> dict[str, Row]:
    """The strongest floor and, where the data has several references, human agreement."""
    found = {_FLOOR: strongest_floor(context), _PEOPLE: context.get(HUMAN)}
    return {word: row for word, row in found.items() if row}


def _group_row(rows: pd.DataFrame, **run: str | None) -> Row:
    """A group's row; over several seeds their mean, without an interval."""
    found = where(rows, **run)
    if len(found) == 1:
        return records(found)[0]
    return {"rouge_mean": found["rouge_mean"].mean(), "ci_low": None, "ci_high": None}


def _context_lines(texts: Texts, axes, context: dict[str, Row]) -> list[Line2D]:
    """Draw both levels across the axes; their labels say what they are, and the value."""
    lines = []
    for word, row in _levels(context).items():
        colour, line = _LEVELS[word]
        name = f", {context_name(texts, row['name'])}" if word == _FLOOR else ""
        label = f"{texts(word)}{name}: {row['rouge_mean']:.1f}"
        lines.append(axes.axvline(row["rouge_mean"], color=colour, ls=line, lw=1.2, label=label))
    return lines


def _short(texts: Texts, condition: str) -> str:
    """A condition below a narrow axis."""
    templates = condition == "fine_tuned_templates"
    return texts("plots.templates" if templates else f"conditions.{condition}")
