"""Variants of a study: what they train, what they share, how they are compared."""

import pytest
from fixture_results import build_results, fixture_study

from yoyak.config.frozen import STEPS, freeze, thaw
from yoyak.config.study import load_study
from yoyak.errors import UserError
from yoyak.reporting import tables
from yoyak.reporting.results import records

TWO = "{tuned: {training: {learning_rate: 3e-4}}, mission: {seeds: [42]}}"


def test_variants_are_trained_apart_and_share_all_else(write_study):
    study = write_study(variants=TWO)
    assert (study.variants, study.seeds) == (["tuned", "mission"], [42, 7])
    trainings = study.trainings()
    assert [run.variant for run in trainings].count("tuned") == 2 * 2 * 2 * 2
    assert {run.seed for run in trainings if run.variant == "mission"} == {42}
    assert len([run for run in study.runs() if not run.trained]) == 4
    assert {run.zero_shot for run in trainings} < set(study.runs())
    assert "runs/tiny_llama/mission/chat/fine_tuned/seed42" in {run.folder for run in trainings}
    assert len({run.name for run in study.runs()}) == len(study.runs())
    for name, rate in (("tuned", 3e-4), ("mission", 8e-3)):
        config = thaw(freeze(study, "train", "tiny_llama", name)).model("tiny_llama")
        assert (config.training.learning_rate, config.training.max_steps) == (rate, 12)
    thawed = thaw(freeze(study, "compare"))
    assert thawed.trainings() == trainings and thawed.variants == study.variants


def test_a_variant_changes_its_own_trainings_and_the_report(write_study):
    before, after = write_study(variants=TWO), write_study(variants=TWO.replace("3e-4", "4e-4"))
    assert {step for step in STEPS if freeze(before, step) != freeze(after, step)} == {"report"}
    for name, same in (("tuned", False), ("mission", True)):
        texts = [freeze(study, "train", "tiny_llama", name) for study in (before, after)]
        assert (texts[0] == texts[1]) is same
    for step in ("build_dataset", "generate", "model_card"):
        assert freeze(before, step, "tiny_llama", "tuned") == freeze(
            write_study(), step, "tiny_llama"
        )


def test_a_study_without_variants_has_the_default_one(write_study):
    plain = write_study()
    for other in (write_study(variants="{}"), write_study(variants="{default: {}}")):
        assert other.trainings() == plain.trainings()
        assert freeze(other, "train", "tiny_llama", "default") == freeze(
            plain, "train", "tiny_llama"
        )


def test_seeds_and_variants_can_be_chosen_and_debug_stays_small(write_study):
    write_study(variants="{long: {training: {epochs: 9, batch_size: 64}}, mission: {seeds: [42]}}")
    study = load_study("mine", seeds=[7], variants=["mission"])
    assert {(run.variant, run.seed) for run in study.trainings()} == {("mission", 7)}
    with pytest.raises(UserError, match="has no 'missoin'; did you mean 'mission'. .it has: long"):
        load_study("mine", variants=["missoin"])
    training = load_study("mine", debug=True).model("tiny_llama", "long").training
    assert (training.epochs, training.batch_size, training.max_steps) == (1, 2, None)


@pytest.mark.parametrize(
    "variants, words",
    [
        ("[tuned]", ("variants: found", "a mapping")),
        ("{a b: {}}", ("variants.a b", "letters of any script")),
        ("{x: 3}", ("variants.x: found 3", "a mapping")),
        ("{a: {}, x: {prompts: english}}", ("variants.x: prompts: found in a variant",)),
        ("{x: {seeds: []}}", ("variants.x: seeds: found []", "not empty")),
        ("{x: {traning: {}}}", ("variants.x", "did you mean 'training'")),
        (
            "{x: {training: {learning_rat: 1}}}",
            ("variants.x", "'training.learning_rat'; did you mean 'learning_rate'"),
        ),
        ("{x: {lora: {r: 0}}}", ("variants.x: lora.r: found 0",)),
        ("{x: {execution: {threads: 1}}}", ("variants.x", "only says how it is run")),
        ("{x: {training: {optim: auto}}}", ("training.optim only says how",)),
        ("{x: {lora: {use_qlora: false}}}", ("lora.use_qlora", "share", "_base_")),
        ("{x: {tokenizer: {encoder_max_len: 64}}}", ("encoder_max_len", "share")),
        ("{x: {tokenizer: {decoder_max_len: 9}}}", ("tokenizer.decoder_max_len", "share")),
        ("{x: {}, y: {training: {}}}", ("variants.y", "same as variants.x")),
    ],
)
def test_a_faulty_variant_is_one_line(write_study, variants, words):
    with pytest.raises(UserError, match="mine.yaml: variants") as caught:
        write_study(variants=variants)
    for word in words:
        assert word in str(caught.value), caught.value


def read_table(path):
    return records(tables.read_table(path))


def test_variants_are_told_apart_and_the_first_is_asked_about(tmp_path):
    study = fixture_study(
        models=("tiny_llama",),
        formats=("chat",),
        augmentations=("none",),
        seeds=(1, 2, 3),
        variants={"tuned": {}, "mission": {"seeds": [1]}},
        tokenizers=("words",),
        resamples=200,
    )
    results = build_results(tmp_path / "results", study, rows=12)
    rouge, seeds, questions, differences = (
        read_table(results / "tables" / f"{name}.csv")
        for name in ("rouge", "seeds", "questions", "differences")
    )
    named = [(row["variant"], row["seed"]) for row in rouge]
    assert named == [(None, None), ("tuned", 1), ("tuned", 2), ("tuned", 3), ("mission", 1)]
    assert [row["variant"] for row in seeds] == ["tuned"]
    question = questions[0]
    assert (question["trainings"], question["seeds"]) == (1, 3)
    found = {(row["comparison"], row["variant"]): row for row in differences}
    assert set(found) == {
        ("fine_tuned-zero_shot", "tuned"),
        ("fine_tuned-zero_shot", "mission"),
        ("variant-tuned", "mission"),
    }
    apart = found["variant-tuned", "mission"]
    means = {place: row["rouge_mean"] for place, row in zip(named, rouge, strict=True)}
    wanted = means["mission", 1] - means["tuned", 1]
    assert apart["seeds"] == 1 and apart["difference"] == pytest.approx(wanted, abs=1e-3)
    assert question["difference"] == found["fine_tuned-zero_shot", "tuned"]["difference"]
