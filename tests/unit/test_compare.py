"""compare.py: what its tables hold, that they agree with each other, what it refuses."""

import csv
import json
import shutil

import compare
import floors
import numpy as np
import pytest
import score
from fixture_results import build_results, fixture_dialogues, fixture_study, write_data

from yoyak.config.study import Run
from yoyak.config.study_settings import Metric
from yoyak.errors import UserError
from yoyak.reporting import tables
from yoyak.reporting.results import records
from yoyak.reporting.tables import COLUMNS
from yoyak.scoring.comparison import question_rows
from yoyak.scoring.scores import summaries_by_group

CELL = "runs/tiny_llama/default/chat/fine_tuned/seed42"


def read_table(path):
    return records(tables.read_table(path))


@pytest.fixture
def results(scored_results):
    return scored_results


def test_every_table_has_its_columns_and_rows(results):
    names = {path.stem for path in (results / "tables").glob("*.csv")}
    assert names == set(COLUMNS) - {"seeds", "quoted"}  # one seed, and nobody asked for the quoted
    counts = {name: len(read_table(results / "tables" / f"{name}.csv")) for name in names}
    cells, tokenizers = 12, 4
    assert counts["rouge"] == cells * tokenizers
    assert counts["groups"] == cells * tokenizers * 2
    assert counts["differences"] == (8 + 4 + 6) * tokenizers
    assert counts["group_differences"] == 2 * counts["differences"]
    assert counts["context"] == (7 + 4) * tokenizers * 3  # and references made false
    assert counts["levels"] == cells * tokenizers * 3
    assert counts["diagnostics"] == cells + 7  # people, floors, falsehoods
    assert counts["questions"] == 3 and counts["methods"] == cells
    assert counts["resources"] == 4 + 2 * 8
    for name in names:
        assert (results / "tables" / f"{name}.md").read_text(encoding="utf-8").startswith("# ")


def test_what_trainings_were_warned_of_stands_below_the_first_table(
    results, scored_study, tmp_path
):
    study, copied = scored_study, shutil.copytree(results, tmp_path / "copied")
    for model in study.models:
        file = copied / f"runs/{model}/default/chat/fine_tuned/seed42/run.json"
        record = json.loads(file.read_text(encoding="utf-8"))
        record |= {"warnings": ["only 9 optimiser steps"], "loss_fall": 0.0125}
        file.write_text(json.dumps(record), encoding="utf-8")
    compare.compare(study, copied, copied / "tables")
    note = (copied / "tables/rouge.md").read_text(encoding="utf-8")
    assert "Warning for 2 of the trainings: only 9 optimiser steps." in note
    rows = read_table(copied / "tables/diagnostics.csv")
    falls = {(row["format"], row["condition"]): row["loss_fall"] for row in rows}
    assert falls["chat", "fine_tuned"] == 0.0125 and falls["chat", "zero_shot"] is None


def test_rouge_rows_agree_with_themselves_and_with_the_dialogues(results):
    with open(results / CELL / "scores" / "dialogues.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["tokenizer"] == "morphemes"]
    assert len(rows) == 24
    (table_row,) = (
        row
        for row in read_table(results / "tables" / "rouge.csv")
        if (row["model"], row["format"], row["condition"], row["tokenizer"])
        == ("tiny_llama", "chat", "fine_tuned", "morphemes")
    )
    for measure in ("rouge1", "rouge2", "rougeL", "rouge_mean"):
        column = measure.removeprefix("rouge_")
        mean = 100 * sum(float(row[column]) for row in rows) / len(rows)
        assert table_row[measure] == pytest.approx(mean, abs=1e-4)
    parts = [table_row[key] for key in ("rouge1", "rouge2", "rougeL")]
    assert table_row["rouge_sum"] == pytest.approx(sum(parts), abs=2e-4)
    assert table_row["ci_low"] < table_row["rouge_mean"] < table_row["ci_high"]
    assert (table_row["seed"], table_row["steps"]) == (42, 60)
    zero_shot = read_table(results / "tables" / "rouge.csv")[0]
    assert zero_shot["condition"] == "zero_shot"
    assert (zero_shot["seed"], zero_shot["steps"], zero_shot["supervised_tokens"]) == (None,) * 3


def test_differences_are_the_differences_of_the_table(results):
    means = {
        (*(row[key] for key in ("model", "format", "condition")), row["tokenizer"]): row
        for row in read_table(results / "tables" / "rouge.csv")
    }
    rows = read_table(results / "tables" / "differences.csv")
    for row in rows:
        key = [row["model"], row["format"], row["condition"], row["tokenizer"]]
        other = list(key)
        if row["comparison"] == "fine_tuned-zero_shot":
            other[2] = "zero_shot"
        elif row["comparison"] == "fine_tuned_templates-fine_tuned":
            other[2] = "fine_tuned"
        else:
            other[1] = "instruction"
        expected = means[tuple(key)]["rouge_mean"] - means[tuple(other)]["rouge_mean"]
        assert row["difference"] == pytest.approx(expected, abs=2e-4)
        assert row["ci_low"] <= row["difference"] <= row["ci_high"]
        assert (row["seeds"], row["sd"]) == (1, None)
    tuned = [row for row in rows if row["comparison"] == "fine_tuned-zero_shot"]
    assert all(row["ci_low"] > 0 for row in tuned)  # the fixture's gap


def test_each_question_has_one_pooled_difference_in_the_primary_tokenizer(results):
    first, templates, formats = read_table(results / "tables" / "questions.csv")
    pooled = [
        row["difference"]
        for row in read_table(results / "tables" / "differences.csv")
        if row["tokenizer"] == "morphemes" and row["comparison"] == first["comparison"]
    ]
    assert first["difference"] == pytest.approx(sum(pooled) / 8, abs=2e-4)
    assert (first["trainings"], first["seeds"], first["verdict"]) == (8, 1, "up")
    assert first["p_value"] < 0.05 and first["detectable"] > 0
    for row in (templates, formats):  # one seed: another might turn them round
        assert (row["trainings"], row["verdict"], row["p_value"]) == (4, "no claim", None)
    assert "≤ 0.00001" in (results / "tables" / "questions.md").read_text(encoding="utf-8")


def made_up(gains, seeds=3, n=60):
    """Scores of one model: fine-tuned, with templates and in the chat format by so much better."""
    generator = np.random.default_rng(1)
    start = generator.random(n)[:, None] * np.ones((1, 3)) / 4
    scores = {Run("m", form): {"words": start} for form in ("instruction", "chat")}
    for seed in range(seeds):
        for form, by_form in (("instruction", 0), ("chat", gains[2])):
            for condition, by in (("fine_tuned", 0), ("fine_tuned_templates", gains[1])):
                noise = generator.normal(0, 0.02, (n, 1))
                better = start + gains[0] + by + by_form + noise
                scores[Run("m", form, condition, seed)] = {"words": better}
    return scores


@pytest.mark.parametrize(
    "gains, seeds, verdicts",
    [
        ((0.2, 0.1, 0.1), 3, ["up", "up", "up"]),
        ((0.2, 0.0, 0.1), 3, ["up", "undecided", "not tested"]),
        ((0.2, -0.1, -0.1), 3, ["up", "down", "down"]),
        ((0.2, 0.1, 0.1), 2, ["no claim"] * 3),
        ((0.2, 0.1, 0.1), 1, ["up", "no claim", "no claim"]),
    ],
)
def test_a_question_is_open_only_behind_decided_ones(gains, seeds, verdicts):
    metric = Metric(primary="words", tokenizers=["words"])
    rows = question_rows(made_up(gains, seeds), metric)
    pooled = [row for row in rows if "verdict" in row]
    assert [row["verdict"] for row in pooled] == verdicts
    for row in pooled:
        assert ("p_value" in row) == (row["verdict"] in ("up", "down", "undecided"))
        assert (row["ci_low"] is None) == (seeds == 2)
    assert len(rows) == len(pooled) * (1 if seeds == 1 else 1 + seeds)


def test_other_tokenizers_are_not_tested(results):
    assert "p_value" not in COLUMNS["differences"] and "tokenizer" not in COLUMNS["questions"]
    (note,) = (results / "tables").glob("differences.md")
    assert "not adjusted" in note.read_text(encoding="utf-8")


def test_running_again_gives_the_same_bytes(results, tmp_path, scored_study):
    compare.compare(scored_study, results, tmp_path / "tables")
    for path in sorted((results / "tables").iterdir()):
        if path.name != "run.json":
            assert (tmp_path / "tables" / path.name).read_bytes() == path.read_bytes()


def test_a_group_row_is_that_group_alone(results):
    groups = read_table(results / "tables" / "groups.csv")
    assert {row["group"]: row["n"] for row in groups} == {"seen": 16, "unseen": 8}


def spoil_results(results, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    return folder


def test_compare_names_a_cell_that_is_not_scored(results, tmp_path, scored_study):
    folder = spoil_results(results, tmp_path)
    shutil.rmtree(folder / CELL / "scores")
    with pytest.raises(UserError, match="chat/fine_tuned/seed42/scores/summary.json: no such file"):
        compare.compare(scored_study, folder, folder / "tables")


def test_compare_refuses_scores_of_other_data(results, tmp_path, scored_study):
    folder = spoil_results(results, tmp_path)
    shutil.rmtree(folder / "data")
    write_data(folder / "data", fixture_dialogues(rows=20))
    with pytest.raises(UserError, match="not the dialogues of data/dev.csv"):
        compare.compare(scored_study, folder, folder / "tables")


@pytest.mark.parametrize("key", ["resamples", "seed"])
def test_compare_refuses_scores_under_other_settings(results, tmp_path, key):
    other = fixture_study(resamples=300)
    metric = other.settings.metric
    setattr(metric, key, getattr(metric, key) + 1)
    with pytest.raises(UserError, match="scored with other metric settings"):
        compare.compare(other, results, tmp_path / "tables")


def test_compare_refuses_different_signatures(results, tmp_path, scored_study):
    folder = spoil_results(results, tmp_path)
    path = folder / CELL / "scores" / "summary.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("|tokens:", "|tokens:0"))
    with pytest.raises(UserError, match="signatures in summary.json differ"):
        compare.compare(scored_study, folder, folder / "tables")
    path.write_text(text)
    path = folder / "floors" / "run.json"
    path.write_text(path.read_text(encoding="utf-8").replace("|tokens:", "|tokens:0"))
    with pytest.raises(UserError, match="floors: scored with other tools than the runs"):
        compare.compare(scored_study, folder, folder / "tables")


def test_several_seeds_are_taken_together(tmp_path):
    study = fixture_study(
        models=("tiny_llama",),
        formats=("chat",),
        seeds=(1, 2, 3),
        tokenizers=("words",),
        resamples=200,
    )
    results = build_results(tmp_path / "results", study, rows=12)
    rows = read_table(results / "tables" / "seeds.csv")
    assert [row["condition"] for row in rows] == ["fine_tuned", "fine_tuned_templates"]
    of_seeds = [
        row["rouge_mean"]
        for row in read_table(results / "tables" / "rouge.csv")
        if row["condition"] == "fine_tuned"
    ]
    mean = sum(of_seeds) / 3
    assert rows[0]["rouge_mean"] == pytest.approx(mean, abs=1e-3)
    sd = (sum((value - mean) ** 2 for value in of_seeds) / 2) ** 0.5
    assert rows[0]["sd"] == pytest.approx(sd, abs=1e-3)
    assert rows[0]["seeds"] == 3
    assert rows[0]["ci_low"] < rows[0]["rouge_mean"] < rows[0]["ci_high"]
    assert rows[0]["difference_ci_low"] < rows[0]["difference"] < rows[0]["difference_ci_high"]
    levels = [row for row in read_table(results / "tables" / "levels.csv") if row["group"] == "all"]
    of_all = [row for row in levels if row["seed"] is None and row["condition"] == "fine_tuned"]
    assert len(of_all) == 1 and of_all[0]["ci_low"] <= of_all[0]["difference"]
    assert len([row for row in levels if row["condition"] == "fine_tuned"]) == 4


def test_one_reference_and_no_groups(tmp_path):
    study = fixture_study(
        models=("tiny_llama",), formats=("chat",), tokenizers=("words",), resamples=200
    )
    folder = tmp_path / "results"
    results = build_results(folder, study, rows=10, references=1)
    names = {row["name"] for row in read_table(results / "tables" / "context.csv")}
    assert "human_agreement" not in names
    for split in ("dev",):
        path = folder / "data" / f"{split}.csv"
        path.write_text(
            path.read_text(encoding="utf-8").replace(",seen\n", ",\n"), encoding="utf-8"
        )
    for run in study.runs():
        metric, place = study.settings.metric, folder / run.folder
        score.score(metric, "ko", place / "predictions", folder / "data", place / "scores")
    floors.score_floors(study.settings.metric, "ko", folder / "data", folder / "floors")
    compare.compare(study, folder, folder / "tables")
    assert read_table(folder / "tables" / "groups.csv") == []
    assert read_table(folder / "tables" / "group_differences.csv") == []
    assert "No rows" in (folder / "tables" / "groups.md").read_text(encoding="utf-8")


def test_one_dialogue_has_scores_but_no_interval(tmp_path):
    study = fixture_study(
        models=("tiny_llama",), formats=("chat",), tokenizers=("words",), resamples=200
    )
    results = build_results(tmp_path / "results", study, rows=1)
    row = read_table(results / "tables" / "rouge.csv")[1]
    assert row["n"] == 1
    assert row["rouge_mean"] is not None
    assert row["ci_low"] is row["ci_high"] is None


def test_a_group_without_any_score_has_no_row(scored_study):
    nan = float("nan")
    scores = [[0.5, 0.2, 0.4], [0.6, 0.3, 0.5], [nan, nan, nan]]
    found = summaries_by_group(scores, ["seen", "seen", "unseen"], scored_study.settings.metric)
    assert list(found["groups"]) == ["seen"]
    assert found["all"]["n"] == 2
