"""Floors and ceiling: what they are, and that runs which should land on them do."""

import numpy as np
import pytest
from fixture_dialogues import DIALOGUES
from fixture_results import fixture_dialogues

from yoyak.errors import PROJECT_ROOT
from yoyak.scoring.context import (
    ceiling_references,
    context_scores,
    derangement,
    first_turns,
    floor_other_reference,
)
from yoyak.scoring.rouge import Rouge
from yoyak.scoring.statistics import interval

MORPHEMES = Rouge("morphemes")
RESAMPLES = 2000


def dialogues():
    """The embedded dev split if it is there, else the small ones."""
    embedded = PROJECT_ROOT / "workflow" / "resources" / "dialogues" / "dev.csv"
    if embedded.is_file():
        from yoyak.data.dialogues import read_dialogues

        return read_dialogues(embedded)
    return fixture_dialogues()


ROWS = dialogues()
REFERENCES = [row.summaries for row in ROWS]


@pytest.mark.parametrize("n", [2, 3, 10, 100])
def test_derangement_moves_everything_and_is_seeded(n):
    order = derangement(n, 42)
    assert sorted(order) == list(range(n))
    assert (order != np.arange(n)).all()
    assert (derangement(n, 42) == order).all()
    assert n < 10 or (derangement(n, 43) != order).any()


def test_shuffled_predictions_land_on_the_floor():
    floor = floor_other_reference(MORPHEMES, REFERENCES, seed=42).mean(axis=1)
    found = interval(floor, RESAMPLES, 1)
    inside = 0
    for seed in range(100, 110):
        order = derangement(len(REFERENCES), seed)
        shuffled = [REFERENCES[other][0] for other in order]
        inside += found.low <= MORPHEMES.score_all(REFERENCES, shuffled).mean() <= found.high
    assert inside >= 8


@pytest.mark.parametrize("chosen", [0, 1, 2])
def test_references_as_predictions_land_on_the_ceiling(chosen):
    """Somebody's summaries as predictions, scored against the other people's."""
    ceiling = interval(ceiling_references(MORPHEMES, REFERENCES).mean(axis=1), RESAMPLES, 1)
    others = [row[:chosen] + row[chosen + 1 :] for row in REFERENCES]
    scores = MORPHEMES.score_all(others, [row[chosen] for row in REFERENCES]).mean(axis=1)
    found = interval(scores, RESAMPLES, 1)
    assert found.low <= ceiling.high
    assert ceiling.low <= found.high


def test_the_ceiling_is_the_mean_over_people():
    ceiling = ceiling_references(MORPHEMES, REFERENCES)
    people = [
        MORPHEMES.score_all(
            [row[:chosen] + row[chosen + 1 :] for row in REFERENCES],
            [row[chosen] for row in REFERENCES],
        )
        for chosen in range(3)
    ]
    assert ceiling == pytest.approx(np.mean(people, axis=0), abs=1e-12)


def test_floor_lies_below_ceiling_under_every_tokenizer():
    texts = [row.dialogue for row in ROWS]
    for name in ("morphemes", "morphemes_no_tags", "characters", "words"):
        scores = context_scores(Rouge(name), REFERENCES, texts, 42)
        assert list(scores) == [
            "floor_other_reference",
            "floor_first_turn_1",
            "floor_first_turn_2",
            "floor_first_turn_3",
            "ceiling_references",
        ]
        ceiling = interval(scores["ceiling_references"].mean(axis=1), RESAMPLES, 1)
        floor = interval(scores["floor_other_reference"].mean(axis=1), RESAMPLES, 1)
        assert floor.high < ceiling.low


def test_characters_have_the_highest_floor():
    """Why a score needs its tokenizer's name: see the order, not the values."""
    floors = {
        name: floor_other_reference(Rouge(name), REFERENCES, 42).mean()
        for name in ("characters", "morphemes", "morphemes_no_tags", "words")
    }
    assert sorted(floors, key=floors.get, reverse=True) == list(floors)


def test_one_reference_has_no_ceiling_and_scores_100_against_itself():
    single = [row[:1] for row in REFERENCES]
    texts = [row.dialogue for row in ROWS]
    assert "ceiling_references" not in context_scores(MORPHEMES, single, texts, 42)
    assert MORPHEMES.score_all(single, [row[0] for row in single]).min() == 1.0


def test_a_dialogue_with_one_reference_is_left_out_of_the_ceiling():
    scores = ceiling_references(MORPHEMES, [REFERENCES[0], REFERENCES[1][:1]])
    assert np.isnan(scores[1]).all()
    assert not np.isnan(scores[0]).any()


def test_first_turns():
    assert first_turns("가\n나\n다", 2) == "가\n나"
    assert first_turns("가", 3) == "가"


def test_fixture_dialogues_are_two_dozen_of_both_groups():
    assert len(DIALOGUES) == 24
    assert {group for group, _, _ in DIALOGUES} == {"seen", "unseen"}
