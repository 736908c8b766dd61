"""Ten random kills over a debug study; for more, `tests/workflow/kill_study.py --kills 200`."""

import random
import signal

import pytest
from kill_study import summary
from moments import WEIGHTS, draw_moment, draw_moments
from outputs import Reference
from study_under_fire import StudyUnderFire, Tally


@pytest.fixture
def reference(finished):
    # Children would inherit an ignored Ctrl-C from a shell that runs the tests in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield Reference(finished)
    signal.signal(signal.SIGINT, before)


DATA = ("prepare_data", "build_dataset")
LAST = ("tables", "plots", "report.html")
CARD = "runs/tiny_llama/default/chat/fine_tuned_templates/seed42/README.md"


@pytest.mark.slow
def test_ten_kills_lose_nothing(finished, reference, tmp_path):
    project = finished.copy(tmp_path / "study")
    project.forget("runs", "submission", *LAST)
    rng, tally = random.Random(3), Tally()
    study = StudyUnderFire(project, reference, tally, "half")
    # The data stay: whatever rests on data made anew is made anew, lost or not.
    moments = [moment for moment in draw_moments(12, rng) if moment.rule not in DATA]
    study.run(sorted(moments, key=lambda moment: list(WEIGHTS).index(moment.rule)))
    for _ in range(3):
        if len(tally.kills) < 10:  # a job may have run before its moment came
            project.forget(CARD, *LAST)
            study.complete = set()
            study.run([draw_moment(rule, rng) for rule in ("snakemake", "compare", "plot")])
    print(summary(tally, 0))
    assert tally.faults == []
    assert len(tally.kills) >= 10


def test_moments_come_from_the_seed_and_cover_every_rule():
    one, other = (draw_moments(30, random.Random(5)) for _ in range(2))
    assert one == other != draw_moments(30, random.Random(6))
    assert {moment.rule for moment in one} == set(WEIGHTS)
    assert len({(moment.victim, moment.signal) for moment in one}) > 5


def test_a_partial_output_and_a_lost_one_are_found(finished, reference, tmp_path):
    """The study's own eyes: a flipped byte, a cut file, a lacking file of a folder."""
    project = finished.copy(tmp_path / "study")
    everything = set(reference.rules)
    assert list(reference.faults(project, everything)) == []
    adapter = project.results / "runs/tiny_llama/default/chat/fine_tuned/seed42/final_model"
    (adapter / "tokenizer.json").unlink()
    rouge = project.results / "tables/rouge.csv"
    rouge.write_bytes(rouge.read_bytes()[:-1])
    record = project.results / "data/run.json"
    record.write_text(record.read_text()[:-5])
    dev = project.results / "data/dev.csv"
    dev.write_bytes(dev.read_bytes().replace("요".encode(), "야".encode(), 1))
    (project.results / "report.html").unlink()
    faults = list(reference.faults(project, everything))
    names = ("final_model", "rouge.csv", "data/run.json", "dev.csv")
    assert len(faults) == 4 and all(any(name in fault for fault in faults) for name in names)
    assert everything - reference.present(project) == {"results/small-debug/report.html"}
