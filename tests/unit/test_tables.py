"""The files of tables: numbers, names, formulas, damage; what Markdown shows of them."""

import csv
import io

import pytest
import submission

from yoyak.errors import UserError
from yoyak.reporting import tables
from yoyak.reporting.results import records
from yoyak.reporting.run_rows import QUOTED, device
from yoyak.reporting.tables import TEXT, csv_cell, reading_cell


def read_table(path):
    return records(tables.read_table(path))


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda text: text[:-40], "cut short"),
        (lambda text: text.replace("\n", ",1\n").replace(",1\n", "\n", 1), "is not a table"),
        (lambda text: text.replace(",24,", ",24,7,", 1), "is not a table"),
        (lambda text: text.replace(",24,", ",2x4,", 1), "is not a table"),
        (lambda text: text.replace("rouge1", "rouge9"), "has other columns"),
        (lambda text: text[: text.rindex(",")] + ",inf\n", "is not a table"),
        (lambda text: text.replace(",60,", ",1e999,"), "is not a table"),
        (lambda text: text + "a,,chat,zero_shot,,words,1,inf,1,1,1,1,1,1,,\n", "infinite"),
        (lambda text: "", "is not a table"),
        (lambda text: "\ufffe", "is not a table"),
    ],
)
def test_a_damaged_table_is_refused(scored_results, tmp_path, spoil, words):
    path = tmp_path / "rouge.csv"
    path.write_text(spoil((scored_results / "tables" / "rouge.csv").read_text(encoding="utf-8")))
    with pytest.raises(UserError, match=rf"rouge.csv: .*{words}.*; run compare.py \(again\)$"):
        read_table(path)


def test_names_that_pandas_takes_for_nothing_stay_names(tmp_path):
    row = {"model": "NA", "format": "null", "condition": "nan", "seed": 42, "rouge1": 0.1 + 0.2}
    tables.write_table(tmp_path, "rouge", [row, {**row, "seed": None}], "note")
    first, second = read_table(tmp_path / "rouge.csv")
    assert [first[key] for key in ("model", "format", "condition")] == ["NA", "null", "nan"]
    assert (first["seed"], first["rouge1"]) == (42, 0.3)
    assert second["seed"] is second["steps"] is None


def test_quoted_figures_do_not_add_up(tmp_path):
    tables.write_table(tmp_path, "quoted", QUOTED, "note")
    rows = read_table(tmp_path / "quoted.csv")
    assert len(rows) == len(QUOTED)
    for row in rows:
        if row["rouge1"] is not None:
            parts = row["rouge1"] + row["rouge2"] + row["rougeL"]
            assert f"{parts:.2f}" in row["note"]
            assert abs(parts - row["sum_as_quoted"]) > 1
    assert [row["sum_as_quoted"] for row in rows] == [49.52, 45.02, 94.51, 95.0]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_of_text_is_a_formula(text):
    assert csv_cell("group", text)[0] == "'"
    predicted = [submission.Prediction(text, text, 1, 1, "stop", False)]
    (row,) = csv.DictReader(io.StringIO(submission.submission_csv(predicted), newline=""))
    assert row["summary"][:1] not in tuple("=+-@\t\r")
    assert row["fname"][:1] not in tuple("=+-@\t\r")


def test_negative_numbers_stay_numbers():
    assert csv_cell("difference", -1.25) == "-1.2500"
    assert csv_cell("difference", -0.00001) == "0.0000"
    assert csv_cell("seed", None) == ""


def test_markdown_escapes_names():
    assert reading_cell("group", "a|<b>\n&") == "a\\|&lt;b> &amp;"
    assert reading_cell("supervised_tokens", 1234567) == "1,234,567"
    assert reading_cell("rouge_mean", 12.3456) == "12.35"
    assert reading_cell("ci_low", None) == "–"


def test_csv_cells_are_numbers_or_names(scored_results):
    for path in (scored_results / "tables").glob("*.csv"):
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                for column, cell in row.items():
                    if column not in TEXT and cell:
                        float(cell)
                    assert cell[:1] not in tuple("=+@\t\r")


def test_the_device_of_a_run_says_how_many_there_were():
    record = {"hardware": {"gpu": {"name": "NVIDIA H200"}, "cpu": "a processor"}}
    assert device(record) == device({**record, "execution": {"devices": 1}}) == "NVIDIA H200"
    assert device({**record, "execution": {"devices": 2}}) == "2 × NVIDIA H200"
    assert device({"hardware": {"gpu": None, "cpu": "a processor"}}) == "a processor"
    assert device({}) is None
