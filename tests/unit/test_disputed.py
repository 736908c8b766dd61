"""Predictions on which the scores differ most, as the report shows them."""

import pandas as pd

from yoyak.data.dialogues import load_split
from yoyak.reporting.disputed import COUNT, best_training, most_disputed
from yoyak.reporting.study_tables import StudyTables


def test_predictions_on_which_scores_differ_most_are_shown(reported_study):
    """By places among all dialogues, each score with its cell; the first screen shows none."""
    study, results = reported_study
    run = best_training(study, StudyTables(results))
    dialogues = load_split(results / "data/dev.csv")
    primary = study.settings.metric.primary
    found = most_disputed(study, run, dialogues, results)
    table = pd.read_csv(results / run.folder / "scores/dialogues.csv")
    places = {
        name: rows.set_index("fname")["mean"].rank(ascending=False, method="min")
        for name, rows in table.groupby(table["tokenizer"].fillna(table["metric"]))
    }
    own = places.pop(primary)
    apart = {
        fname: max(abs(other[fname] - own[fname]) for other in places.values())
        for fname in own.index
    }
    assert len(found) == COUNT
    gaps = [abs(one.primary.place - one.other.place) for one in found]
    assert gaps == sorted(apart.values(), reverse=True)[:COUNT]
    for one, gap in zip(found, gaps, strict=True):
        assert apart[one.dialogue.fname] == gap and one.primary.place == own[one.dialogue.fname]
    html = (results / "report.html").read_text(encoding="utf-8")
    assert html.index("Where the scores differ most") > html.index('id="scores"')
