"""Studies: the grid, debug, and the text that decides what a change replans."""

import textwrap
import unicodedata

import pytest
from study_files import PLAIN

from yoyak.config.frozen import STEPS, freeze, thaw
from yoyak.config.loading import CONFIG
from yoyak.config.study import Run, load_study
from yoyak.errors import UserError

STUDY_FILES = sorted(file.stem for file in (CONFIG / "studies").glob("*.yaml"))
OF_A_MODEL = ("build_dataset", "train", "generate", "model_card")


def science(study, step):
    return freeze(study, step, "tiny_llama" if step in OF_A_MODEL else None)


@pytest.mark.parametrize("name", STUDY_FILES)
@pytest.mark.parametrize("debug", [False, True])
def test_every_study_file_is_valid(name, debug):
    study = load_study(name, debug)
    assert study.trainings() and study.results.name == (f"{name}-debug" if debug else name)
    for step in STEPS:
        for model in study.models:
            text = freeze(study, step, model)
            assert freeze(thaw(text), step, model) == text


def test_a_study_says_what_debug_changes(write_study):
    debug = "{models: [tiny_qwen3], seeds: [7], overrides: {training: {max_steps: 3, epochs: 2}}}"
    study = write_study(debug=debug, in_debug=True)
    assert study.trainings()[0] == Run("tiny_qwen3", "instruction", "fine_tuned", 7)
    training = study.model("tiny_qwen3").training
    assert (training.max_steps, training.epochs, training.batch_size) == (3, 2, 2)
    assert len(write_study(debug=debug).trainings()) == 16
    assert write_study(debug=debug).model("tiny_llama").training.max_steps == 12
    assert write_study(in_debug=True).model("tiny_llama").training.max_steps is None


def test_the_embedded_grid_has_eight_trainings():
    trainings = load_study("embedded").trainings()
    assert len(trainings) == len(set(trainings)) == 8
    assert trainings[0] == Run("tiny_llama", "instruction", "fine_tuned", 42)
    assert trainings[0].folder == "runs/tiny_llama/default/instruction/fine_tuned/seed42"
    assert trainings[0].record() == {
        **{"model": "tiny_llama", "variant": "default", "format": "instruction"},
        **{"condition": "fine_tuned", "seed": 42},
    }


def test_grid_conditions_and_overrides(write_study):
    study = write_study()
    assert len(study.trainings()) == 2 * 2 * 2 * 2
    assert study.conditions == ["zero_shot", "fine_tuned", "fine_tuned_templates"]
    with_examples = write_study(few_shot="3")
    assert with_examples.conditions == ["zero_shot", "few_shot", *study.conditions[1:]]
    added = [run for run in with_examples.runs() if run not in study.runs()]
    assert [run.folder for run in added] == [
        f"few_shot/{model}/{form}" for model in study.models for form in study.formats
    ]
    assert study.model("tiny_qwen3").training.max_steps == 12
    with pytest.raises(UserError, match="not in study 'mine'"):
        study.model("qwen3_4b")


def test_debug_shrinks_any_study(write_study):
    write_study()
    study = load_study("mine", debug=True)
    training = study.model("tiny_llama").training
    assert (training.epochs, training.max_steps, training.batch_size) == (1, None, 2)
    assert study.row_limits == {"train": 50, "dev": 10, "test": 10}
    assert (study.name, load_study("mine").row_limits) == ("mine-debug", None)


# ---- science ----


def test_order_of_keys_changes_no_science(write_study):
    before = write_study()
    lines = textwrap.dedent(PLAIN).strip().splitlines()
    text = "\n".join(reversed(lines)).replace(
        "{primary: morphemes, tokenizers: [morphemes, words]}",
        "{tokenizers: [morphemes, words], primary: morphemes, references: mean}",
    )
    after = write_study(text)
    for step in STEPS:
        assert science(before, step) == science(after, step), step


def changed_steps(before, after) -> set[str]:
    return {step for step in STEPS if science(before, step) != science(after, step)}


@pytest.mark.parametrize(
    "overrides",
    [
        "{execution: {threads: 1, token_budget: 64, base_weights: nf4, compile: true}}",
        "{training: {optim: paged_adamw_32bit, gradient_checkpointing: true}}",
        "{tracking: {report_to: [wandb]}, experiment: {name: other}}",
        "{execution: {device: cpu}, model: {size: 1B}, dataset: {format_type: instruction}}",
    ],
)
def test_execution_and_tracking_are_no_science(write_study, overrides):
    assert changed_steps(write_study(overrides="{}"), write_study(overrides=overrides)) == set()


@pytest.mark.parametrize(
    "overrides, steps",
    [
        ("{lora: {r: 4}}", {"train", "report"}),  # which shows every setting
        ("{training: {learning_rate: 1e-4}}", {"train", "report"}),
        ("{experiment: {tags: [dialogue]}}", {"model_card"}),
        ("{generation: {num_beams: 2}}", {"generate", "model_card", "report"}),
        (
            "{tokenizer: {encoder_max_len: 300}}",
            {"build_dataset", "generate", "plot", "model_card", "report"},
        ),
        ("{model: {revision: abc}}", {"build_dataset", "train", "generate", "report"}),
        ("{model: {dtype: bf16}}", {"train", "generate", "report"}),
        ("{resources: {expected_gpu_memory_gb: 3}}", {"compare"}),  # a column of a table
    ],
)
def test_an_override_changes_only_what_depends_on_it(write_study, overrides, steps):
    assert changed_steps(write_study(overrides="{}"), write_study(overrides=overrides)) == steps


@pytest.mark.parametrize(
    "key, value, steps",
    [
        ("data", "{train: c.csv, dev: b.csv}", {"prepare_data", "model_card", "report"}),
        (
            *("data", "{train: a.csv, dev: b.csv, selection: dev}"),
            {"prepare_data", "plot", "model_card", "report"},
        ),
        ("language", "en", set(STEPS) - {"train", "plot", "compare"}),
        ("formats", "[chat]", {"compare", "plot", "report"}),
        ("seeds", "[42]", {"compare", "plot", "report"}),
        (
            *("metric", "{primary: words, tokenizers: [words]}"),
            {"floors", "score", "compare", "plot", "report", "model_card"},
        ),
        ("report", "{samples: 3}", {"report"}),
        ("report", "{note: Mind the gap.}", {"report", "model_card"}),
        ("report", "{quoted: true}", {"compare", "report"}),
        ("description", "another", {"report", "model_card"}),
    ],
)
def test_a_study_key_changes_only_what_depends_on_it(write_study, key, value, steps):
    assert changed_steps(write_study(), write_study(**{key: value})) == steps


def test_numbers_written_otherwise_are_the_same_science(write_study):
    one = write_study(overrides="{lora: {alpha: 32, r: 8}, training: {epochs: 3}}")
    other = write_study(overrides="{training: {epochs: 3.0}, lora: {r: 8.0, alpha: 3.2e1}}")
    assert changed_steps(one, other) == set()


# ---- what is refused ----


@pytest.mark.parametrize(
    "replaced, words",
    [
        ({"models": "[tiny_lama]"}, ("models:", "did you mean 'tiny_llama'")),
        ({"models": "[../base/causal_lm]"}, ("models.0", "without .yaml")),
        ({"models": "[]"}, ("models: found []", "not empty")),
        ({"models": "[tiny_llama, tiny_llama]"}, ("models", "no value twice")),
        ({"models": "tiny_llama"}, ("models", "a list")),
        ({"models": '["tiny_llama\\n"]'}, ("models.0", "without .yaml")),
        ({"formats": "[poem]"}, ('"poem"', "'instruction' or 'chat'")),
        ({"augmentations": "[nothing]"}, ("'none' or 'templates'",)),
        ({"seeds": "[-1]"}, ("seeds.0: found -1", "at least 0")),
        ({"seeds": "[42, 42]"}, ("no value twice",)),
        ({"seeds": "[1.5]"}, ("a whole number",)),
        ({"language": "de"}, ('"de"', "'ko' or 'en'")),
        ({"data": "{train: a.csv}"}, ("'data.dev' is missing",)),
        ({"data": None}, ("'data' is missing",)),
        ({"data": "{train: a, dev: b, tset: c}"}, ("data.tset", "did you mean 'test'")),
        ({"data": "{train: a, dev: b, selection_fraction: 0.9}"}, ("at most 0.5",)),
        ({"overrides": "{lora: {rank: 3}}"}, ("mine.yaml: overrides", "lora.rank")),
        ({"overrides": "{lora: {r: 0}}"}, ("mine.yaml: overrides", "lora.r: found 0")),
        ({"overrides": "{_base_: x.yaml}"}, ("unknown key '_base_'",)),
        ({"debug": "{seed: [7]}"}, ("mine.yaml", "debug", "seed")),
        ({"debug": "{seeds: []}"}, ("mine.yaml: debug.seeds", "not empty")),
        ({"debug": "{overrides: [1]}"}, ("mine.yaml: debug.overrides",)),
        ({"overrides": "[]"}, ("overrides: found []", "a mapping")),
        ({"metric": "{primary: words, tokenizers: [morphemes]}"}, ("metric.primary",)),
        ({"metric": "{primary: english, tokenizers: [english]}"}, ("would score 0",)),
        (
            {"metric": "{primary: words, tokenizers: [words], metrics: [chrf]}"},
            ("metric.metrics: found chrf, must have 'rouge'",),
        ),
        (
            {"metric": "{primary: words, tokenizers: [words], metrics: [rouge, bertscore]}"},
            ("metric.bertscore.checkpoint: missing",),
        ),
        (
            {"metric": "{primary: words, tokenizers: [words], metrics: [rouge, bleu]}"},
            ("metric.metrics", "chrf"),
        ),
        ({"metric": "{primary: words, tokenizers: [words], resamples: 1}"}, ("at least 100",)),
        (
            {
                "overrides": "{training: {learning_rate: auto}, lora: {use_lora: false, "
                "use_qlora: false}}"
            },
            ("training.learning_rate: auto is a rate for LoRA", "lora.use_lora: true"),
        ),
        ({"overrides": "{training: {learning_rate: autp}}"}, ("must be 'auto' or a number",)),
        ({"overrides": "{training: {early_stopping_patience: 0}}"}, ("at least 1",)),
        ({"modles": "[tiny_llama]"}, ("modles", "did you mean 'models'")),
    ],
)
def test_a_faulty_study_is_one_line(write_study, replaced, words):
    with pytest.raises(UserError) as caught:
        write_study(**replaced)
    text = str(caught.value)
    assert text.isprintable() and "mine.yaml" in text
    for word in words:
        assert word in text, text


def test_unknown_study_lists_the_known_ones():
    with pytest.raises(UserError, match="no such file .*embedded"):
        load_study("no_such")


@pytest.mark.parametrize("name", ["../models/tiny_llama", "", "a/b", "/x", "embedded\n", "a b"])
def test_a_name_that_cannot_be_is_refused_with_the_reason(name):
    with pytest.raises(UserError, match="a name (starts with|may not hold)") as caught:
        load_study(name)
    assert str(caught.value).isprintable()


def test_names_as_people_have_them(write_study, tmp_path):
    """Hyphens, and Hangul however the file system writes it; a debug run's folder is kept free."""
    folder = tmp_path / "config" / "models"
    folder.mkdir()
    for name in ("my-model", unicodedata.normalize("NFD", "한국어-모델")):
        (folder / f"{name}.yaml").write_text("_base_: tiny_llama.yaml\n")
    study = write_study(models="[my-model, 한국어-모델]")
    assert list(study.models) == ["my-model", "한국어-모델"]
    (tmp_path / "config/studies/mine.yaml").rename(tmp_path / "config/studies/대화-요약.yaml")
    assert load_study("대화-요약").name == "대화-요약"
    (tmp_path / "config/studies/대화-요약.yaml").rename(tmp_path / "config/studies/a-debug.yaml")
    with pytest.raises(UserError, match="does not end in -debug"):
        load_study("a-debug")


def test_what_a_study_leaves_out_is_filled_in(write_study):
    settings = write_study().settings
    assert settings.metric.references == "mean"
    assert settings.data.columns.summaries == ["summary", "summary2", "summary3"]
