"""The report as a file: every number follows its CSV cell, text is escaped, nothing is fetched."""

import base64
import csv
import dataclasses
import hashlib
import re
import shutil
from html.parser import HTMLParser

import jinja2
import pytest
from fixture_report import HOSTILE, report_study

from yoyak.errors import UserError
from yoyak.reporting.answer import answer, judge
from yoyak.reporting.html import TEMPLATES, breakable, render_report
from yoyak.reporting.opening import render_opening
from yoyak.reporting.plots import STUDY_PLOTS
from yoyak.reporting.run_rows import QUOTED
from yoyak.reporting.samples import equal_steps
from yoyak.reporting.tables import write_table

VOID = {"meta", "link", "input", "br", "img", "col"}


class Page(HTMLParser):
    """Elements with their attributes and the text inside each."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self._open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        element = {
            "tag": tag,
            "attributes": dict(attributes),
            "text": "",
            "inside": list(self._open),
        }
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        while self._open and self._open.pop()["tag"] != tag:
            pass

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def having(self, attribute):
        return [element for element in self.elements if attribute in element["attributes"]]

    def all(self, tag):
        return [element for element in self.elements if element["tag"] == tag]


@pytest.fixture(scope="module")
def html(reported_study):
    return (reported_study[1] / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


@pytest.fixture(scope="module")
def read_run(reported_study):
    """The text of a CSV cell, by the source that a number cites."""
    files = {}

    def read(source):
        name, row, column = source.rsplit("/", 2)
        if name not in files:
            place = f"{name}.csv" if "/" in name else f"tables/{name}.csv"
            with open(reported_study[1] / place, encoding="utf-8", newline="") as file:
                files[name] = list(csv.DictReader(file))
        return files[name][int(row)][column]

    return read


def shown_value(text):
    """A number as shown, and half a unit of its last digit."""
    plain = text.replace(",", "").replace("−", "-").replace("+", "")
    digits = len(plain.split(".")[1]) if "." in plain else 0
    return float(plain), 0.5 * 10**-digits + 1e-6


def test_every_number_equals_its_cell(page, read_run):
    cited = page.having("data-cell")
    assert len(cited) > 2000
    for element in cited:
        source = element["attributes"]["data-cell"]
        scale = int(element["attributes"].get("data-scale", 1))
        value, half = shown_value(element["text"])
        assert value == pytest.approx(float(read_run(source)) * scale, abs=half), source


def test_every_gain_is_the_difference_of_its_two_scores(page, read_run):
    gains = page.having("data-gain")
    assert len(gains) == 8 * 20
    for element in gains:
        before, after = (float(read_run(one)) for one in element["attributes"]["data-gain"].split())
        value, half = shown_value(element["text"])
        assert value == pytest.approx(100 * (after - before), abs=half)


def test_no_table_shows_a_number_without_its_source(page):
    cited = [*page.having("data-cell"), *page.having("data-gain")]
    covered = {id(outer) for element in cited for outer in element["inside"]}
    for cell in page.all("td"):
        if cell["attributes"].get("class") == "n" and re.search(r"\d", cell["text"]):
            assert id(cell) in covered, cell["text"]


@pytest.mark.parametrize(
    "name",
    [
        "rouge",
        "differences",
        "context",
        "levels",
        "diagnostics",
        "resources",
        "groups",
        "group_differences",
    ],
)
def test_whole_tables_are_shown(page, reported_study, name):
    with open(reported_study[1] / "tables" / f"{name}.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if name in ("groups", "group_differences"):  # under the primary tokenizer only
        wanted = {place for place, row in enumerate(rows) if row["tokenizer"] == "morphemes"}
    else:
        wanted = set(range(len(rows)))
    shown = {
        int(element["attributes"]["data-cell"].split("/")[1])
        for element in page.having("data-cell")
        if element["attributes"]["data-cell"].startswith(f"{name}/")
        and any(e["attributes"].get("data-name") == name for e in element["inside"])
    }
    assert shown == wanted


def test_the_answer_follows_the_differences(page, reported_study):
    with open(reported_study[1] / "tables" / "differences.csv", encoding="utf-8") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["comparison"] == "fine_tuned-zero_shot" and row["tokenizer"] == "morphemes"
        ]
    values = [float(row["difference"]) for row in rows]
    assert all(float(row["p_holm"]) < 0.05 for row in rows) and min(values) > 0
    text = next(e["text"] for e in page.elements if e["attributes"].get("class") == "answer")
    assert "in all 8 trainings" in text
    assert f"by {min(values):.2f} to {max(values):.2f} points" in text
    with open(reported_study[1] / "tables" / "levels.csv", encoding="utf-8") as file:
        levels = [
            row
            for row in csv.DictReader(file)
            if (row["tokenizer"], row["group"]) == ("morphemes", "all")
            and row["condition"] != "zero_shot"
        ]
    # The nearest training dialogue is the dialogue itself here: nothing lies above that floor.
    assert all(row["floor"] == "floor_nearest" for row in levels)
    assert text.startswith("All 8 fine-tuned scores lie below the strongest floor, the nearest")
    assert f"{min(float(row['difference']) for row in levels):.2f}".replace("-", "−") in text


class OneTable:
    """Stands for CitedTables with made-up differences, and trainings that did their work or not.

    levels: (difference from the strongest floor, its interval) of each training.
    """

    def __init__(self, differences, effects=(), levels=((5.0, 4.0, 6.0),)):
        self.levels = [
            {"condition": "fine_tuned", "floor": "floor_constant"}
            | dict(zip(("difference", "ci_low", "ci_high"), level, strict=True))
            for level in levels
        ]

        self.made = [
            {"row": i, "difference": d, "p_holm": p, "condition": "fine_tuned", "ci_low": d}
            for i, (d, p) in enumerate(differences)
        ]

        self.effects = [
            {"row": i, "condition": "fine_tuned", "unchanged_rate": same, "loss_fall": fall}
            for i, (same, fall) in enumerate(effects)
        ]

    def rows(self, name, /, **values):
        tables = {"differences": self.made, "diagnostics": self.effects, "levels": self.levels}
        return tables.get(name, [{"rouge_mean": 30.0}])

    def cell(self, name, row, column, signed=False):
        return f"{row[column]:+.1f}" if signed else f"{row[column]:.1f}"


@pytest.mark.parametrize(
    "differences, opening",
    [
        ([(3.0, 0.01)], "Fine-tuning raised ROUGE in the one training, by 3.0 points"),
        ([(3.0, 0.01), (1.0, 0.04)], "raised ROUGE in all 2 trainings, by 1.0 to 3.0 points"),
        (
            [(-3.0, 0.01), (-1.0, 0.04)],
            "lowered ROUGE in all 2 trainings: -3.0 to -1.0 points against",
        ),
        (
            [(3.0, 0.2), (-1.0, 0.9)],
            "Fine-tuning did not clearly change ROUGE in any of 2 trainings: -1.0 to +3.0",
        ),
        (
            [(3.0, 0.01), (-1.0, 0.01), (0.1, 1.0)],
            "raised ROUGE in 1 of 3 trainings, lowered it in 1",
        ),
    ],
)
def test_the_answer_in_every_case(differences, opening):
    assert opening in "".join(answer(report_study(), OneTable(differences)))


ABOVE, BELOW, WITHIN = (5.0, 4.0, 6.0), (-5.0, -6.0, -4.0), (0.5, -1.0, 2.0)


@pytest.mark.parametrize(
    "levels, opening",
    [
        (
            [BELOW, BELOW],
            "All 2 fine-tuned scores lie below the strongest floor, one constant training summary "
            "(30.0): -5.0 to -5.0 points. Fine-tuning raised ROUGE",
        ),
        (
            [ABOVE],
            "The one fine-tuned score lies above every floor. The strongest is one constant "
            "training summary (30.0): +5.0 points.",
        ),
        (
            [ABOVE, BELOW, WITHIN],
            "Of 3 fine-tuned scores 1 lie above every floor, 1 below the strongest, and 1 cannot",
        ),
        ([WITHIN], "The strongest floor cannot be told from the one fine-tuned score. It is"),
    ],
)
def test_the_answer_says_the_level_before_the_gain(levels, opening):
    assert "".join(answer(report_study(), OneTable([(9.0, 0.01)], (), levels))).startswith(opening)


LITTLE = [(0.1, 0.6), (-0.1, 0.9)]  # differences that are not clear
SAME, TRAINED, UNKNOWN = (0.8, 0.5), (0.79, 0.02), (0.1, None)


@pytest.mark.parametrize(
    "differences, effects, opening",
    [
        (LITTLE, [SAME, (0.0, 0.019)], "The model was hardly trained in all 2 trainings, which"),
        (
            LITTLE[:1],
            [SAME],
            "The model was hardly trained in the one training, which tells nothing",
        ),
        (LITTLE, [SAME, TRAINED], "hardly trained in 1 of 2 trainings, and in the others"),
        (LITTLE, [UNKNOWN, TRAINED], "Fine-tuning did not clearly change ROUGE in any of 2"),
        ([(3.0, 0.01), (0.1, 1.0)], [TRAINED, SAME], "and hardly trained the model in 1:"),
    ],
)
def test_of_a_model_that_was_hardly_trained_nothing_is_concluded(differences, effects, opening):
    assert opening in "".join(answer(report_study(), OneTable(differences, effects)))


def test_a_difference_that_is_not_clear_counts_as_neither():
    found = judge(OneTable([(5.0, 0.05), (-5.0, 0.5)]).made)
    assert (found.up, found.down, found.total) == (0, 0, 2)


def test_hostile_text_is_text(page, html):
    assert HOSTILE in "".join(e["text"] for e in page.all("pre"))
    assert HOSTILE in "".join(e["text"] for e in page.all("p"))
    assert not page.all("img")
    assert len(page.all("script")) == 2
    assert not [e for e in page.elements if any(a.startswith("on") for a in e["attributes"])]


def test_the_opening_of_the_workflow_report_is_plain_text(reported_study):
    from docutils.core import publish_parts

    study, results = reported_study
    text = render_opening(study, results)
    body = publish_parts(text, writer="html", settings_overrides={"halt_level": 2})["html_body"]
    page = Page(body)
    shown = " ".join(" ".join(e["text"].split()) for e in page.all("h1") + page.all("p"))
    assert "How much does QLoRA fine-tuning help tiny_llama and tiny_qwen3" in shown
    assert "raised ROUGE in all 8 trainings" in shown
    assert HOSTILE in shown and not page.all("img") and not page.all("script")


def test_names_break_behind_underscores_and_stay_text():
    assert breakable("a_b<c") == "a_<wbr>b&lt;c"
    assert "<wbr>" in breakable("x" * 40)


def test_the_quoted_figures_are_shown_only_where_a_study_asks_for_them(reported_study, tmp_path):
    study, results = reported_study
    assert "Quoted from elsewhere" not in (results / "report.html").read_text(encoding="utf-8")
    settings = study.settings.model_copy(deep=True)
    settings.report.quoted = True
    for folder in results.iterdir():
        if folder.name != "tables":
            (tmp_path / folder.name).symlink_to(folder)
    shutil.copytree(results / "tables", tmp_path / "tables")
    write_table(tmp_path / "tables", "quoted", QUOTED, "note")
    asked = render_report(dataclasses.replace(study, settings=settings), tmp_path)
    assert "Quoted from elsewhere, not comparable" in asked and "Llama-3.2-Korean-3B" in asked


def test_one_file_that_asks_for_nothing(page, html):
    assert len(html.encode()) < 5_000_000
    for element in page.elements:
        for attribute in ("src", "href", "xlink:href", "data", "srcset", "action"):
            target = element["attributes"].get(attribute)
            assert target is None or target.startswith(("#", "data:")), element
    assert "@import" not in html and "url(http" not in html


def test_only_the_two_scripts_of_the_page_may_run(page):
    policy = next(
        e["attributes"]["content"] for e in page.all("meta") if "http-equiv" in e["attributes"]
    )
    assert "default-src 'none'" in policy
    for script in page.all("script"):
        digest = base64.b64encode(hashlib.sha256(script["text"].encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_ids_are_unique_and_every_link_inside_leads_somewhere(page):
    ids = [e["attributes"]["id"] for e in page.having("id")]
    assert len(ids) == len(set(ids))
    links = {e["attributes"]["href"][1:] for e in page.all("a")}
    assert links <= set(ids)


def test_equal_results_give_equal_bytes(reported_study, html):
    assert render_report(*reported_study) == html


def test_samples_span_the_ranking():
    assert equal_steps(100, 5) == [0, 25, 50, 74, 99]
    assert equal_steps(3, 20) == [0, 1, 2]
    assert equal_steps(7, 1) == [0]
    assert equal_steps(7, 0) == []
    steps = equal_steps(499, 20)
    assert len(set(steps)) == 20 and (steps[0], steps[-1]) == (0, 498)


def test_missing_plots_are_named(reported_study, tmp_path):
    study, results = reported_study
    (tmp_path / "tables").symlink_to(results / "tables")
    with pytest.raises(UserError, match=r"captions.json: no such file; run plot.py first"):
        render_report(study, tmp_path)


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
