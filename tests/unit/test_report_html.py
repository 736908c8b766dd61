"""The report as a file: every number follows its CSV cell, text is escaped, nothing is fetched."""

import base64
import csv
import dataclasses
import hashlib
import re
import shutil
from html.parser import HTMLParser

import pytest
from fixture_report import HOSTILE, build_report_results, report_study

from yoyak.config.study import Run
from yoyak.errors import UserError
from yoyak.reporting.html import breakable, render_report
from yoyak.reporting.model_card import model_card
from yoyak.reporting.opening import render_opening
from yoyak.reporting.plots import write_plots
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
    plain = text.removeprefix("≤ ").replace(",", "").replace("−", "-").replace("+", "")
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


def test_the_answer_follows_the_questions(page, reported_study):
    with open(reported_study[1] / "tables" / "questions.csv", encoding="utf-8") as file:
        first, *others = csv.DictReader(file)
    assert first["verdict"] == "up" and [row["verdict"] for row in others] == ["no claim"] * 2
    text = next(e["text"] for e in page.elements if e["attributes"].get("class") == "answer")
    assert f"raised ROUGE in the mean of 8 trainings by {float(first['difference']):.2f}" in text
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
    details = next(e["text"] for e in page.elements if e["attributes"].get("class") == "details")
    assert "training noise is outside all intervals" in details
    assert "nothing is claimed about templates or formats" in details
    assert "The chat format against" not in details


def test_few_shot_is_one_row_more_and_a_sentence_that_claims_nothing(tmp_path):
    study = report_study(models=("tiny_llama",), formats=("chat",), resamples=100, few_shot=2)
    study, results = build_report_results(tmp_path, study, rows=8)
    (results / "plots").mkdir()
    write_plots(study, results, results / "plots")
    page = Page(render_report(study, results))
    main = next(one for one in page.all("table") if "main" in one["attributes"]["class"])
    names = ["zero-shot", "few-shot", "fine-tuned", "fine-tuned, 5 templates"]
    cells = [cell["text"] for cell in page.all("td") if main in cell["inside"]]
    assert [text for text in cells if text in names] == names
    told = [line["text"] for line in page.all("li") if line["text"].startswith("Few-shot")]
    assert len(told) == 1 and "with 2 training examples in the prompt" in told[0]
    assert "fine-tuning lies above 0 in 2 of 2, below in 0" in told[0]
    assert "none of the questions: intervals are not adjusted, nothing is tested" in told[0]
    card = model_card(study, results, Run("tiny_llama", "chat", "fine_tuned", 42))
    assert "| few-shot, same base and format |" in card
    questions = (results / "tables" / "questions.csv").read_text(encoding="utf-8")
    assert "few_shot" not in questions


def test_one_training_has_a_difference_from_few_shot_and_no_range(tmp_path):
    grid = {"models": ("tiny_llama",), "formats": ("chat",), "augmentations": ("none",)}
    study = report_study(**grid, resamples=100, few_shot=1)
    opening = render_opening(*build_report_results(tmp_path, study, rows=8)).replace("\\", "")
    told = next(line for line in opening.splitlines() if "Few-shot, with" in line)
    assert re.search(r"differs from it by .[\d.]+ points \(95 % interval .*\), and few-shot", told)
    assert " to " not in told.partition("and few-shot")[2]


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
    assert "raised ROUGE in the mean of 8 trainings" in shown
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
