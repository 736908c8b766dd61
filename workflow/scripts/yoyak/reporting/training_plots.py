"""Plots of training: loss curves, and the lengths of prompts and summaries beside their limits."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from safetensors import safe_open

from yoyak.config.study import Run, Study
from yoyak.errors import UserError
from yoyak.reporting.plot_parts import broken
from yoyak.reporting.results import run_name
from yoyak.reporting.style import INK, MUTED, new_figure
from yoyak.reporting.tables import read_csv
from yoyak.reporting.texts import Texts, texts_of
from yoyak.run.workspace import read_json

COLUMNS = 4  # panels side by side
LIMIT_BINS = 40
TRAINING, SELECTION = "#4a8fc4", "#15436b"


def loss_curves(study: Study, results: Path) -> tuple[Figure, str]:
    """Training and selection loss of every training; those in a panel differ in their seed."""
    texts = texts_of(study)
    panels: dict[Run, list[Run]] = {}
    for run in study.trainings():
        panels.setdefault(replace(run, seed=None), []).append(run)
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(max(4.5, 2.5 * columns), 1.95 * rows + 0.5)
    all_axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes in all_axes.flat[len(panels) :]:
        axes.remove()
    for axes, (cell, runs) in zip(all_axes.flat, panels.items(), strict=False):
        _draw_losses(axes, [_training_log(results, run) for run in runs])
        variant = f" · {cell.variant}" if len(study.variants) > 1 else ""
        named = broken(f"{cell.model}{variant} · {cell.format}", 28)
        axes.set_title(f"{named}\n{texts(f'conditions.{cell.condition}')}", fontsize=8)
    for axes in all_axes[:, 0]:
        axes.set_ylabel(texts("plots.loss"))
    figure.supxlabel(texts("plots.step"), fontsize=9)
    figure.legend(handles=_loss_handles(texts), loc="outside upper left", ncols=3)
    return figure, _loss_caption(study, study.seeds)


def run_loss_curve(study: Study, results: Path, run: Run) -> tuple[Figure, str]:
    """The same for one training."""
    texts = texts_of(study)
    figure = new_figure(5.2, 2.7)
    axes = figure.subplots()
    _draw_losses(axes, [_training_log(results, run)])
    axes.set_ylabel(texts("plots.loss"))
    axes.set_xlabel(texts("plots.step"))
    figure.legend(handles=_loss_handles(texts), loc="outside upper left", ncols=3)
    name = run_name(texts, run.record(), variants=len(study.variants) > 1)
    return figure, texts("plots.loss_curve", run=name, caption=_loss_caption(study, [run.seed]))


def lengths(study: Study, results: Path) -> tuple[Figure, str]:
    """Tokens of training prompts and reference summaries, with the limits that cut them."""
    texts = texts_of(study)
    figure = new_figure(8.6, 2.3 * len(study.models) + 0.6)
    all_axes = figure.subplots(len(study.models), 2, squeeze=False)
    condition = study.trained_conditions[0]
    notes, handles = [], {}
    for (prompt_axes, answer_axes), model in zip(all_axes, study.models, strict=True):
        limits = study.models[model].tokenizer
        for form, style in zip(study.formats, _FORMAT_STYLES, strict=False):
            folder = Path(results) / Run(model, form, condition).examples
            prompts, answers = _token_counts(folder / "train.safetensors")
            handles[form] = Line2D([], [], label=form, lw=1.5, **style)
            for axes, counts, limit in (
                (prompt_axes, prompts, limits.encoder_max_len),
                (answer_axes, answers, limits.decoder_max_len),
            ):
                edges = np.linspace(0, max(limit, int(counts.max())) + 1, LIMIT_BINS + 1)
                heights, edges = np.histogram(counts, edges)
                axes.stairs(heights, edges, lw=1.5, **style)
            numbers = {
                "examples": len(prompts),
                "shortened": _shortened(folder / "statistics.json"),
                "over": int((answers > limits.decoder_max_len).sum()),
            }
            shown = {key: f"{count:,}" for key, count in numbers.items()}
            notes.append(texts("plots.lengths_count", name=f"{model} · {form}", **shown))
        for axes, key, word in (
            (prompt_axes, "encoder_max_len", "prompt"),
            (answer_axes, "decoder_max_len", "summary"),
        ):
            limit = getattr(limits, key)
            axes.axvline(limit, color=INK, lw=1, ls=":")
            axes.annotate(
                texts("plots.limit", limit=limit), (limit, 1), xycoords=("data", "axes fraction"),
                xytext=(-4, -2), textcoords="offset points", ha="right", va="top",
                fontsize=8, color=MUTED,
            )  # fmt: skip
            axes.set_title(texts(f"plots.{word}", model=model), fontsize=8.5)
            axes.set_xlim(left=0)
            axes.set_ylim(0, axes.get_ylim()[1] * 1.15)  # room for the limit's name
        prompt_axes.set_ylabel(texts("plots.examples"))
    for axes in all_axes[-1]:
        axes.set_xlabel(texts("plots.tokens"))
    figure.legend(handles=list(handles.values()), loc="outside upper left", ncols=len(handles))
    named = texts(f"conditions.{condition}")
    return figure, texts("plots.lengths", condition=named, counts="; ".join(notes))


_FORMAT_STYLES = [dict(color=SELECTION, ls="-"), dict(color=TRAINING, ls="--")]


def _training_log(results: Path, run: Run) -> pd.DataFrame:
    log = read_csv(results / run.folder / "training_log.csv", cure="train this model first")
    return log.set_index("step")


def _draw_losses(axes, logs: list[pd.DataFrame]) -> None:
    for log in logs:
        for column, style in (
            ("loss", dict(color=TRAINING, lw=1)),
            ("eval_loss", dict(color=SELECTION, lw=1.3, marker="s", ms=3.5)),
        ):
            points = log[column].dropna()
            axes.plot(points.index, points, **style)
            if column == "eval_loss" and len(points):
                axes.plot(points.idxmin(), points.min(), "o", ms=9, mfc="none", mec=INK, mew=1.1)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="x", visible=False)


def _loss_handles(texts: Texts) -> list[Line2D]:
    return [
        Line2D([], [], label=texts(f"plots.{name}"), **look)
        for name, look in (
            ("training", dict(color=TRAINING, lw=1.2)),
            ("selection", dict(color=SELECTION, lw=1.3, marker="s", ms=3.5)),
            ("lowest", dict(ls="", marker="o", ms=8, mfc="none", mec=INK)),
        )
    ]


def _loss_caption(study: Study, seeds: Sequence[int | None]) -> str:
    texts, data = texts_of(study), study.settings.data
    source = (
        texts("plots.held_out", seed=data.selection_seed)
        if data.selection == "held_out"
        else texts("plots.dev_chose")
    )
    named = texts("plots.seeds", n=len(seeds), seeds=", ".join(map(str, seeds)))
    return texts("plots.loss_curves", source=source, seeds=named)


def _token_counts(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Prompt and answer lengths of a tokenised split, both (examples,)."""
    try:
        with safe_open(path, framework="numpy") as file:
            offsets, prompts = file.get_tensor("offsets"), file.get_tensor("prompt_lengths")
    except OSError:
        raise UserError(f"{path}: no such file; run build_dataset.py first") from None
    return prompts.astype(np.int64), np.diff(offsets) - prompts


def _shortened(path: Path) -> int:
    """Training prompts whose dialogue was shortened."""
    statistics = read_json(path, cure="run build_dataset.py first")
    return statistics["train"]["prompts_shortened"]
