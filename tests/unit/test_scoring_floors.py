"""Floors and human agreement: what they are, and what may be claimed against them."""

import random
import time

import numpy as np
import pandas as pd
import pytest
from fixture_results import fixture_dialogues, fixture_study
from hypothesis import given, settings
from hypothesis import strategies as st

from yoyak.config.study import Run
from yoyak.data.dialogues import Dialogue, read_dialogues
from yoyak.errors import PROJECT_ROOT, UserError
from yoyak.scoring.floors import (
    first_turns,
    floor_texts,
    medoid,
    other_dialogues,
    read_levels,
    score_levels,
    write_levels,
)
from yoyak.scoring.levels import level_rows
from yoyak.scoring.metrics import open_metrics
from yoyak.scoring.nearest import nearest
from yoyak.scoring.rouge import Rouge

EMBEDDED = PROJECT_ROOT / "workflow" / "resources" / "dialogues"
METRIC = fixture_study(resamples=300).settings.metric
WORDS = METRIC.model_copy(
    update={"metrics": ["rouge"], "primary": "words", "tokenizers": ["words"]}
)
OPEN = open_metrics(WORDS), WORDS.seed
ROWS = read_dialogues(EMBEDDED / "dev.csv")
TRAIN = read_dialogues(EMBEDDED / "train.csv")
REFERENCES = [row.summaries for row in ROWS]
GROUPS = [row.group for row in ROWS]


@pytest.fixture(scope="module")
def levels():
    return score_levels(
        ROWS, floor_texts(TRAIN, ROWS, METRIC, "ko"), open_metrics(METRIC), METRIC.seed
    )


def mean(levels, name, tokenizer="morphemes"):
    return 100 * levels[name][tokenizer]["mean"].mean()


def test_style_alone_scores_high_in_morphemes_and_nothing_in_content(levels):
    assert mean(levels, "floor_constant") > 20
    assert mean(levels, "floor_constant", "content_morphemes") < 5
    assert mean(levels, "floor_other_reference", "content_morphemes") < 5
    assert mean(levels, "human_agreement", "content_morphemes") > 30


def test_people_stand_above_falsehoods_and_these_above_constants(levels):
    """As far as the first screen goes; how little ROUGE sees of a falsehood is said beside it."""
    for tokenizer in ("morphemes", "content_morphemes"):
        people, false, constant = (
            mean(levels, name, tokenizer)
            for name in ("human_agreement", "falsified_all", "floor_constant")
        )
        assert people > false > constant


def test_the_nearest_is_stronger_than_any_other_reference(levels):
    for tokenizer in METRIC.tokenizers:
        nearest_one = mean(levels, "floor_nearest", tokenizer)
        assert nearest_one > mean(levels, "floor_other_reference", tokenizer)


def test_the_constant_is_the_best_of_all_candidates():
    summaries = [row.summary for row in TRAIN[:40]]
    rouge = Rouge("words")
    chosen = summaries[medoid(rouge, summaries)]
    averages = [
        np.mean([np.sum(rouge.score_pair(other, one)) for other in summaries if other != one])
        for one in summaries
    ]
    assert chosen == summaries[int(np.argmax(averages))]


def test_partners_are_others_of_the_group_and_each_comes_once_a_shift():
    groups = ["a"] * 40 + ["b"] * 3 + [""] * 2 + ["alone"]
    partners = other_dialogues(groups, 42)
    assert partners.shape == (30, 46)
    assert (partners[:, -1] == -1).all()  # nobody else is in its group
    assert (partners[2:, 40:43] == -1).all()
    for place, group in enumerate(groups):
        met = [at for at in partners[:, place] if at >= 0]
        assert place not in met and len(met) == len(set(met))
        assert all(groups[at] == group for at in met)
    assert sorted(partners[0, :40]) == list(range(40))
    assert (partners == other_dialogues(groups, 42)).all()
    assert (partners != other_dialogues(groups, 43)).any()


def test_a_dialogue_without_others_has_no_score_and_is_read_back_so(tmp_path):
    rows = [
        Dialogue(f"d{i}", "a: 가\nb: 나", ("가 나", "나 다"), group=g) for i, g in enumerate("xxy")
    ]
    texts = {"floor_constant": ["가 나"] * 3, "falsified_numbers": ["가 나", None, None]}
    scores = score_levels(rows, texts, *OPEN)
    write_levels(tmp_path, rows, texts, scores)
    fnames = [row.fname for row in rows]
    found = read_levels(tmp_path, fnames, ["words"])
    assert list(found) == [*texts, "floor_other_reference", "human_agreement"]
    for name, of_name in scores.items():
        assert np.array_equal(found[name]["words"], of_name["words"], equal_nan=True)
    assert found["floor_other_reference"]["words"]["rouge1"].isna().tolist() == [False, False, True]
    assert found["falsified_numbers"]["words"]["rouge1"].isna().tolist() == [False, True, True]
    # A false 가 나 meets 나 다 alone: its own original would be full marks.
    assert found["falsified_numbers"]["words"]["rouge1"][0] == 0.5
    with pytest.raises(UserError, match="not the dialogues"):
        read_levels(tmp_path, fnames[::-1], ["words"])
    with pytest.raises(UserError, match="other metrics or tokenizers"):
        read_levels(tmp_path, fnames, ["characters"])


def brute_force_bm25(documents, query):
    average = np.mean([len(document) for document in documents])
    totals = []
    for document in documents:
        total = 0.0
        for term in query:
            containing = sum(term in other for other in documents)
            rarity = np.log(1 + (len(documents) - containing + 0.5) / (containing + 0.5))
            count = document.count(term)
            length = 1.5 * (1 - 0.75 + 0.75 * len(document) / average)
            total += rarity * count * 2.5 / (count + length)
        totals.append(total)
    return int(np.argmax(totals))


def test_nearest_is_bm25():
    generator = random.Random(3)
    texts = [generator.choices("abcdefghij", k=generator.randint(1, 12)) for _ in range(60)]
    documents, queries = texts[:40], [*texts[40:], [], ["unknown"]]
    expected = [brute_force_bm25(documents, query) for query in queries]
    assert nearest(documents, queries).tolist() == expected


def test_human_agreement_is_the_mean_over_people():
    rouge = Rouge("morphemes")
    people = [
        rouge.score_all(
            [row[:chosen] + row[chosen + 1 :] for row in REFERENCES],
            [row[chosen] for row in REFERENCES],
        )
        for chosen in range(3)
    ]
    found = rouge.human_agreement(REFERENCES)
    assert found == pytest.approx(np.mean(people, axis=0), abs=1e-12)


def test_under_max_a_person_and_a_model_meet_as_many_references():
    """A model that writes what another person would is no better than people, nor worse."""
    rows = [("가 나", "가 다", "라 마")] * 2
    rouge = Rouge("words", "max")
    agreement = rouge.human_agreement(rows)
    everything, peers = rouge.score_with_peers(rows, ["가 나", "라 마"])
    assert everything[:, 0].tolist() == [1, 1]
    # Against all but one: 가 나 finds itself in two of three cases, 가 다 in the third.
    assert peers[0, 0] == pytest.approx((1 + 1 + 0.5) / 3)
    assert agreement[0, 0] == pytest.approx((0.5 + 0.5 + 0) / 3)
    same, fewer = Rouge("words").score_with_peers(rows, ["가 나", "라 마"])
    assert same == pytest.approx(fewer)


def test_one_reference_has_no_human_agreement():
    rows = [Dialogue(row.fname, row.dialogue, row.summaries[:1]) for row in ROWS[:5]]
    assert "human_agreement" not in score_levels(rows, {"floor_constant": ["가"] * 5}, *OPEN)
    assert np.isnan(Rouge("words").human_agreement([REFERENCES[0], REFERENCES[1][:1]])[1]).all()


def claims(texts, floors, references=REFERENCES):
    """Rows of one run with these predictions, among floors given as texts."""
    run, rouge = Run("model", "chat", "fine_tuned", 42), Rouge("words")
    levels = score_levels(ROWS, floors, *OPEN)
    scores, peers = rouge.score_with_peers(references, texts)
    arguments = ({run: {"words": each.mean(axis=1)}} for each in (scores, peers))
    return {row["group"]: row for row in level_rows(*arguments, levels, GROUPS, WORDS)}


def test_a_run_is_held_against_its_strongest_floor_and_each_group_against_its_own():
    seen = [row.summaries[0] if row.group == "seen" else "없다" for row in ROWS]
    unseen = [row.summaries[0] if row.group != "seen" else "없다" for row in ROWS]
    texts = [row.summaries[1] for row in ROWS]
    found = claims(texts, {"floor_seen": seen, "floor_unseen": unseen})
    assert found["seen"]["floor"] == "floor_seen"
    assert found["unseen"]["floor"] == "floor_unseen"
    assert found["all"]["floor"] == "floor_seen"  # there are more of them
    assert found["all"]["n"] == len(ROWS)


def test_a_stronger_floor_can_only_weaken_the_claim():
    generator = np.random.default_rng(5)
    texts = [row.summaries[1] for row in ROWS]
    weak = ["가 나"] * len(ROWS)
    before = claims(texts, {"floor_constant": weak})
    for share in (0.1, 0.5, 0.9):
        stronger = [
            row.summaries[0] if generator.random() < share else text
            for row, text in zip(ROWS, weak, strict=True)
        ]
        for floors in (
            {"floor_constant": stronger},
            {"floor_constant": weak, "floor_new": stronger},
        ):
            after = claims(texts, floors)
            for group, row in after.items():
                for key in ("difference", "ci_low", "ci_high"):
                    assert row[key] <= before[group][key] + 1e-9


def verdict(row):
    """1: above every floor, −1: below one, 0: neither. All that the report says comes from it."""
    return int(row["ci_low"] > 0) - int(row["ci_high"] < 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 3]), st.booleans())
def test_no_floor_more_and_none_that_is_better_strengthens_the_headline(seed, seeds, clustered):
    """Floors of any level and spread; t over clusters, t over seeds, bootstrap."""
    generator = np.random.default_rng(seed)
    n = 24
    names = [str(place // 3) for place in range(n)] if clustered else []
    run = [Run("model", "chat", "fine_tuned", number) for number in range(seeds)]
    means = {each: {"words": 0.5 + generator.normal(0, 0.05, n)} for each in run}

    def rows(floors):
        tables = {
            name: {"words": pd.DataFrame({"mean": scores, "peer_mean": scores})}
            for name, scores in floors.items()
        }
        return level_rows(means, means, tables, [""] * n, WORDS, names)

    def made():
        return 0.5 + generator.normal(0, 0.05) + generator.normal(0, generator.uniform(0, 0.2), n)

    floors = {"floor_a": made(), "floor_b": made()}
    more = {**floors, "floor_c": made()}
    better = {**floors, "floor_b": floors["floor_b"] + generator.uniform(0, 0.1)}
    before = rows(floors)
    for after in (rows(more), rows(better)):
        for old, new in zip(before, after, strict=True):
            assert verdict(new) <= verdict(old)
            for key in ("difference", "ci_low", "ci_high"):
                assert new[key] <= old[key] + 1e-9


def test_share_of_the_way():
    people = claims([row.summaries[0] for row in ROWS], {"floor_constant": ["없다"] * len(ROWS)})
    floor = claims(["없다"] * len(ROWS), {"floor_constant": ["없다"] * len(ROWS)})
    assert floor["all"]["share"] < 0 and floor["all"]["difference"] < 0  # other references
    assert people["all"]["share"] > 1  # its own reference is among those it meets


def test_first_turns():
    assert first_turns("가\n나\n다", 2) == "가\n나"
    assert first_turns("가", 3) == "가"


def test_dialogues_need_not_be_many():
    rows = fixture_dialogues(1)
    scores = score_levels(rows, floor_texts(rows, rows, WORDS, "ko"), *OPEN)
    assert "floor_other_reference" not in scores
    assert scores["floor_nearest"]["words"]["mean"].notna().all()


@pytest.mark.slow
def test_floors_of_12457_training_rows_in_two_minutes_of_one_core():
    """DialogSum's size: 499 dialogues, dialogues of some 400 characters, five tokenizers."""
    generator = random.Random(1)
    turns = [turn for row in TRAIN for turn in row.turns]
    summaries = [row.summary for row in TRAIN]

    def dialogue(name, references):
        text = "\n".join(generator.choice(turns) for _ in range(14))
        return Dialogue(name, text, tuple(generator.sample(summaries, references)))

    train = [dialogue(f"t{i}", 1) for i in range(12_457)]
    dev = [dialogue(f"d{i}", 3) for i in range(499)]
    metric = METRIC.model_copy(update={"tokenizers": [*METRIC.tokenizers, "morphemes_no_tags"]})
    started = time.process_time()
    score_levels(dev, floor_texts(train, dev, metric, "ko"), open_metrics(metric), metric.seed)
    assert time.process_time() - started < 120
