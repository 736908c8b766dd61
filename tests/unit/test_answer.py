"""The sentences of the report: what is claimed in each case, and what is not."""

import pytest
from fixture_report import report_study

from yoyak.reporting.answer import answer, best_method, judge
from yoyak.reporting.questions import headline, question_sentences
from yoyak.reporting.study_tables import StudyTables
from yoyak.reporting.tables import write_table

UP = {"difference": 3.0, "ci_low": 1.0, "ci_high": 5.0, "p_value": 0.01, "verdict": "up"}
DOWN = {"difference": -3.0, "ci_low": -5.0, "ci_high": -1.0, "p_value": 0.01, "verdict": "down"}
OPEN = {"difference": 0.5, "ci_low": -1.0, "ci_high": 2.0, "p_value": 0.5, "verdict": "undecided"}
OPEN |= {"detectable": 2.125}
ABOVE, BELOW, WITHIN = (5.0, 4.0, 6.0), (-5.0, -6.0, -4.0), (0.5, -1.0, 2.0)
SAME, TRAINED, UNKNOWN = (0.8, 0.5), (0.79, 0.02), (0.1, None)
IDLE = (0.0, 0.019)
TUNED = {"variant": "default", "condition": "fine_tuned"}


def told(tmp_path, row, effects=(), **more):
    """Tables of one question, and of trainings that did their work or not."""
    folder = tmp_path / "tables"
    folder.mkdir(exist_ok=True)
    row = {"seeds": 1, "n": 60, "clusters": 60, "trainings": 2, **row, **more}
    write_table(folder, "questions", [{"comparison": "fine_tuned-zero_shot", **row}], "note")
    effects = [{**TUNED, "unchanged_rate": same, "loss_fall": fall} for same, fall in effects]
    write_table(folder, "diagnostics", effects, "note")
    return StudyTables(tmp_path)


def spoken(sentence):
    return "".join(part if isinstance(part, str) else part.text for part in sentence)


@pytest.mark.parametrize(
    "row, effects, words",
    [
        (UP | {"trainings": 1}, [], "raised ROUGE in the one training by 3.00 points"),
        (UP, [], "in the mean of 2 trainings by 3.00 points against the same model zero-shot"),
        (UP, [], "(95 % interval 1.00 to 5.00, p = 0.01000)"),
        (UP | {"p_value": 1e-12}, [], "p ≤ 0.00001"),
        (UP, [TRAINED, SAME], "; 1 of them hardly trained the model"),
        (DOWN, [], "Fine-tuning lowered ROUGE in the mean of 2 trainings: −3.00 points"),
        (
            OPEN,
            [UNKNOWN, TRAINED],
            "did not clearly change ROUGE in the mean of 2 trainings: +0.50",
        ),
        (OPEN, [], "so many dialogues and seeds tell 2.12 at 80 % power"),
        (
            OPEN,
            [SAME, IDLE],
            "The model was hardly trained in all 2 trainings, which tells nothing",
        ),
        (OPEN | {"trainings": 1}, [SAME], "was hardly trained in the one training, which tells"),
        (OPEN, [SAME, TRAINED], "The model was hardly trained in 1 of 2 trainings, which"),
    ],
)
def test_the_answer_in_every_case(tmp_path, row, effects, words):
    assert words in spoken(headline(report_study(), told(tmp_path, row, effects)))


@pytest.mark.parametrize(
    "levels, opening",
    [
        (
            [BELOW, BELOW],
            "Both fine-tuned scores lie below the strongest floor, one constant training summary "
            "(30.00): −5.00 to −5.00 points.",
        ),
        (
            [ABOVE],
            "The one fine-tuned score lies above every floor. The strongest is one constant "
            "training summary (30.00): +5.00 points.",
        ),
        (
            [ABOVE, BELOW, WITHIN],
            "Of 3 fine-tuned scores 1 lie above every floor, 1 below the strongest, and 1 cannot",
        ),
        ([WITHIN], "The strongest floor cannot be told from the one fine-tuned score. It is"),
    ],
)
def test_the_answer_says_the_level_before_the_gain(tmp_path, levels, opening):
    tables = told(tmp_path, UP)
    label = {"tokenizer": "morphemes", "group": "all"}
    rows = [
        {**label, **TUNED, "floor": "floor_constant"}
        | dict(zip(("difference", "ci_low", "ci_high"), level, strict=True))
        for level in levels
    ]
    write_table(tmp_path / "tables", "levels", rows, "note")
    floor = {**label, "name": "floor_constant", "rouge_mean": 30.0}
    write_table(tmp_path / "tables", "context", [floor], "note")
    text = spoken(answer(report_study(), tables))
    assert text.startswith(opening) and " points. Fine-tuning raised ROUGE" in text


def test_three_seeds_are_asked_about_templates_and_two_are_not(tmp_path):
    study = report_study(seeds=(1, 2, 3))
    tables = told(tmp_path, UP, seeds=3)
    rows = [
        {"comparison": "fine_tuned-zero_shot", "trainings": 2, "n": 60, "clusters": 7, "seeds": 3}
        | UP,
        {"comparison": "chat-instruction", "trainings": 2, "n": 60, "clusters": 7, "seeds": 3}
        | OPEN,
    ]
    write_table(tmp_path / "tables", "questions", rows, "note")
    few, formats = map(spoken, question_sentences(study, StudyTables(tmp_path)))
    assert few.startswith("60 dialogues are of 7 kinds")
    assert formats.startswith("The chat format against the instruction format, undecided: +0.50")
    assert "tell 2.12 at 80 % power" in formats
    none = dict.fromkeys(("ci_low", "ci_high", "p_value"))
    rows = [
        {**rows[0], **none, "verdict": "no claim", "seeds": 2, "clusters": 60},
        *(
            {"comparison": "fine_tuned-zero_shot", "seed": seed, "n": 60, "difference": by}
            for seed, by in ((1, 2.5), (2, 3.5))
        ),
    ]
    write_table(tmp_path / "tables", "questions", rows, "note")
    tables, study = StudyTables(tmp_path), report_study(seeds=(1, 2))
    (noted,) = map(spoken, question_sentences(study, tables))
    assert noted == "Two seeds (1, 2) allow no interval, and no claim."
    text = spoken(headline(study, tables))
    assert "by +2.50 points with one seed and +3.50 with the other" in text
    assert "interval" not in text


@pytest.mark.parametrize(
    "seeds, gap, words",
    [
        ((1, 2, 3), UP, "Best method: m · chat · fine-tuned, 20.00 (95 % interval 18.00 to 22.00), "
         "better than the second, m · chat · zero-shot, by 3.00 points (95 % interval 1.00 to"),
        ((1, 2, 3), OPEN, "not told apart from the second, m · chat · zero-shot: 0.50 points (95 % "
         "interval −1.00 to 2.00); 60 dialogues and 3 seeds tell 2.12 at 80 % power. Nor is it "
         "from 1 of the others."),
        ((1,), UP, "Highest mean: m · chat · fine-tuned, 20.00 (95 % interval 18.00 to 22.00), "
         "above the second, m · chat · zero-shot, by 3.00 points (95 % interval 1.00 to 5.00); one "
         "seed is too few to call a method the best."),
        ((1, 2), UP | {"ci_low": None, "ci_high": None}, "by 3.00 points; two seeds are too few"),
    ],
)  # fmt: skip
def test_the_best_method_is_told_from_the_second_or_not(tmp_path, seeds, gap, words):
    study_tables, study = told(tmp_path, UP), report_study(models=("tiny_llama",), seeds=seeds)
    study.models["m"] = study.models.pop("tiny_llama")
    arm = {"model": "m", "format": "chat", "tokenizer": "morphemes", "rouge_mean": 20.0}
    arm |= {"variant": "default", "ci_low": 18.0, "ci_high": 22.0}
    rows = [
        {**arm, "condition": "fine_tuned", "seeds": len(seeds)},
        {**arm, **gap, "variant": None, "condition": "zero_shot", "seeds": len(seeds), "n": 60},
        {**arm, **OPEN, "condition": "fine_tuned_templates"},
        {**arm, **UP, "model": "far"},
    ]
    write_table(tmp_path / "tables", "methods", rows, "note")
    for name in ("rouge", "seeds"):
        write_table(tmp_path / "tables", name, rows[:1], "note")
    assert words in spoken(best_method(study, study_tables))


def test_a_difference_whose_interval_holds_0_counts_as_neither():
    rows = [{"difference": 5.0, "ci_low": -0.1, "ci_high": 9.0}]
    found = judge([*rows, {"difference": -5.0, "ci_low": None, "ci_high": None}])
    assert (found.up, found.down, found.total) == (0, 0, 2)
