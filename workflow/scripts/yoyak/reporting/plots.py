"""Every plot of a study as SVG and PNG, and captions.json: n, tokenizer, interval of each."""

import json
from pathlib import Path

from yoyak.config.study import Study
from yoyak.reporting import difference_plots, score_plots, training_plots
from yoyak.reporting.style import plot_style, save

# In the order of the report; a plot function returns (figure, caption), or None where the study
# has nothing for it to show.
STUDY_PLOTS = {
    "scores": score_plots.score_bars,
    "groups": score_plots.group_slopes,
    "differences": difference_plots.differences,
    "tokenizers": score_plots.tokenizers,
    "loss_curves": training_plots.loss_curves,
    "lengths": training_plots.lengths,
    "cost": difference_plots.cost,
}


def write_plots(study: Study, results: Path, folder: Path) -> None:
    """Draw every plot of `study` into `folder`.

    Raises UserError when a result file that a plot needs is missing.
    """
    captions = {}
    with plot_style():
        for stem, draw in STUDY_PLOTS.items():
            drawn = draw(study, results)
            if drawn is not None:
                figure, captions[stem] = drawn
                save(figure, folder, stem, captions[stem])
        for run in study.trainings():
            stem = run.loss_plot
            figure, captions[stem] = training_plots.run_loss_curve(study, results, run)
            save(figure, folder, stem, captions[stem])
    text = json.dumps(captions, ensure_ascii=False, indent=1)
    (folder / "captions.json").write_text(text + "\n", encoding="utf-8")
