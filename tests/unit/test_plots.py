"""Plots as files: they exist, parse, carry their caption, and stay the same bytes."""

import json
import re
import xml.etree.ElementTree as ElementTree

import fixture_results
import jinja2
import pytest
from fixture_report import build_report_results, report_study
from fixture_results import fixture_dialogues
from PIL import Image

from yoyak.data.dialogues import Dialogue
from yoyak.errors import UserError
from yoyak.reporting import score_plots, training_plots
from yoyak.reporting.html import TEMPLATES, render_report
from yoyak.reporting.plots import STUDY_PLOTS, write_plots
from yoyak.reporting.style import CONDITION_COLOURS, plot_style, save


@pytest.fixture
def captions(reported_study):
    _, results = reported_study
    return json.loads((results / "plots" / "captions.json").read_text(encoding="utf-8"))


def test_every_plot_is_there_as_svg_and_png(reported_study, captions):
    study, results = reported_study
    assert set(captions) == set(STUDY_PLOTS) | {run.loss_plot for run in study.trainings()}
    found = {path.name for path in (results / "plots").iterdir()}
    assert found == {f"{s}.{end}" for s in captions for end in ("svg", "png")} | {"captions.json"}
    for stem in captions:
        root = ElementTree.parse(results / "plots" / f"{stem}.svg").getroot()
        assert root.tag.endswith("svg")
        with Image.open(results / "plots" / f"{stem}.png") as image:
            assert image.width > 600


def test_captions_say_n_tokenizer_and_interval_and_stand_in_the_files(reported_study, captions):
    _, results = reported_study
    for stem, caption in captions.items():
        assert re.search(r"\bn\b ?[=:]", caption), stem
        assert "tokenizer" in caption.lower(), stem
        assert "interval" in caption, stem
        assert caption[:60] in (results / "plots" / f"{stem}.svg").read_text(encoding="utf-8")


def test_equal_results_give_equal_bytes(reported_study, tmp_path):
    study, results = reported_study
    with plot_style():
        for stem in ("scores", "lengths"):
            figure, caption = STUDY_PLOTS[stem](study, results)
            save(figure, tmp_path, stem, caption)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (results / "plots" / path.name).read_bytes(), path.name


def test_no_date_and_no_hangul_that_a_font_might_lack(reported_study):
    _, results = reported_study
    for path in (results / "plots").glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        assert "dc:date" not in text
        assert not re.search("[가-힣]", text)


def test_bars_reach_the_values_of_the_table(reported_study):
    study, results = reported_study
    with plot_style():
        figure, _ = score_plots.score_bars(study, results)
    lengths = sorted(bar.get_width() for bar in figure.axes[0].patches)
    rows = (results / "tables" / "rouge.csv").read_text(encoding="utf-8").splitlines()
    cells = [row.split(",") for row in rows if ",morphemes," in row]
    assert lengths == pytest.approx(sorted(float(cell[10]) for cell in cells))


def test_lengths_count_every_example_and_draw_the_limits(reported_study):
    study, results = reported_study
    with plot_style():
        figure, caption = training_plots.lengths(study, results)
    prompts = figure.axes[0]
    assert [int(patch.get_data().values.sum()) for patch in prompts.patches] == [120, 120]
    limits = study.models["tiny_llama"].tokenizer
    assert prompts.lines[0].get_xdata()[0] == limits.encoder_max_len
    assert "120 examples" in caption


def test_lightness_alone_tells_the_conditions_apart():
    """Grey print keeps lightness only: neighbours differ by a fifth of the whole range."""
    greys = []
    for colour in CONDITION_COLOURS.values():
        red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
        greys.append((0.299 * red + 0.587 * green + 0.114 * blue) / 255)
    assert all(light - dark > 0.2 for light, dark in zip(greys, greys[1:], strict=False))


def test_several_seeds_one_reference_one_tokenizer_and_no_templates(tmp_path):
    study = report_study(
        models=("tiny_llama",),
        formats=("chat",),
        augmentations=("none",),
        seeds=(1, 2),
        tokenizers=("words",),
        resamples=100,
    )
    study, results = build_report_results(tmp_path, study, rows=8, references=1)
    folder = results / "plots"
    folder.mkdir()
    write_plots(study, results, folder)
    captions = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
    assert "tokenizers" not in captions
    assert "2 training seeds" in captions["scores"]
    page = render_report(study, results)
    assert "Seeds taken together" in page and "chat · fine-tuned · seed 2" in page
    assert "human agreement" not in page.split("<tfoot>")[1].split("</tfoot>")[0]


def test_variants_are_named_where_a_study_has_several(tmp_path):
    study = report_study(
        models=("tiny_llama",),
        formats=("chat",),
        augmentations=("none",),
        seeds=(1, 2, 3),
        variants={"tuned": {}, "mission": {"seeds": [1]}},
        tokenizers=("words",),
        resamples=100,
    )
    study, results = build_report_results(tmp_path, study, rows=8)
    folder = results / "plots"
    folder.mkdir()
    write_plots(study, results, folder)
    captions = json.loads((folder / "captions.json").read_text(encoding="utf-8"))
    assert "3 (tuned), 1 (mission)" in captions["scores"]
    assert "loss-tiny_llama-chat-fine_tuned-tuned-seed3" in captions
    assert "loss-tiny_llama-chat-fine_tuned-mission-seed1" in captions
    page = render_report(study, results)
    first = page.split("</header>")[0]
    assert (
        "3 trainings of variant tuned" in first and "Variant mission (1 seed), not tested" in first
    )
    for name in ("tuned", "mission"):
        assert f'href="#run-tiny_llama-{name}-chat-fine_tuned-1">fine-tuned · {name}<' in first
        assert page.count(f'id="run-tiny_llama-{name}-chat-fine_tuned-1"') == 1
    assert "variant − tuned" in page


def test_data_without_groups_has_no_plot_and_no_tables_of_groups(tmp_path, monkeypatch):
    plain = [Dialogue(d.fname, d.dialogue, d.summaries) for d in fixture_dialogues(8)]
    monkeypatch.setattr(fixture_results, "fixture_dialogues", lambda rows, references: plain)
    study = report_study(
        models=("tiny_llama",), formats=("chat",), tokenizers=("words", "morphemes")
    )
    study, results = build_report_results(tmp_path, study, rows=8)
    (results / "plots").mkdir()
    write_plots(study, results, results / "plots")
    assert not (results / "plots" / "groups.svg").exists()
    assert "By group of dialogues" not in render_report(study, results)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(UserError, match=r"rouge.csv: .*compare"):
        score_plots.score_bars(report_study(), tmp_path)


@pytest.mark.parametrize("figure", [*STUDY_PLOTS, "loss-tiny_llama-chat-fine_tuned-seed42"])
def test_captions_of_the_workflow_report_know_every_plot(figure):
    from docutils.core import publish_parts

    template = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(
        (TEMPLATES / "plots.rst").read_text(encoding="utf-8")
    )
    text = template.render(snakemake={"wildcards": {"figure": figure}})
    assert ("of one training" in text) == figure.startswith("loss-")
    assert "nterval" in text or "Exact counts" in text
    publish_parts(text, writer="html", settings_overrides={"halt_level": 2})
