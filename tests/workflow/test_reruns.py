"""Reruns follow meaning: what a change plans, seen in real dry runs of a finished study."""

import json
import re
import shutil

import pytest
from workflow_project import SMALL

TRAININGS = 2
END = {"compare": 1, "plot": 1, "report": 1}
FOLLOWS = dict.fromkeys(("generate", "score", "submission", "model_card"), TRAININGS)


BASE, LIBRARY = "config/base/causal_lm.yaml", "workflow/scripts/yoyak"
TEXTS = "workflow/report/texts.yaml"
GENERATED = {
    **FOLLOWS, **END, "generate_zero_shot": 1, "score": TRAININGS + 1, "submission": TRAININGS + 1
}  # fmt: skip


@pytest.fixture
def project(finished, tmp_path):
    return finished.copy(tmp_path / "study")


def test_what_decides_no_result_plans_nothing(project):
    """Comments, docstrings, words of arguments, execution, trackers, the order of keys."""
    for name in ("data/data_card.py", "training/loss.py"):
        file = project.path(f"{LIBRARY}/{name}")
        docstring, text = '"""Changed. ', file.read_text(encoding="utf-8").removeprefix('"""')
        file.write_text(f"# A comment.\n{docstring}{text}", encoding="utf-8")
    project.replace("workflow/scripts/train_llm.py", 'help="adapters;', 'help="with adapters;')
    project.replace(f"{LIBRARY}/training/trackers.py", '"tracking.json"', '"trackers.json"')
    for old, new in (
        ("token_budget: auto", "token_budget: 512"),
        ("threads: auto", "threads: 1"),
        ("base_weights: auto", "base_weights: nf4"),
        ("gradient_checkpointing: auto", "gradient_checkpointing: true"),
        ("optim: auto", "optim: paged_adamw_32bit"),
        ("report_to: []", "report_to: [tensorboard, mlflow]"),
        ("devices: 1 ", "devices: 2 "),
    ):
        project.replace(BASE, old, new)
    study = json.dumps(dict(reversed(SMALL.items())), indent=3)
    project.path("config/studies/small.yaml").write_text("# the same\n" + study, encoding="utf-8")
    project.replace("config/models/tiny_llama.yaml", "_base_:", "# a comment\n_base_:")
    assert project.planned() == {}


@pytest.mark.parametrize(
    ("file", "old", "new", "planned"),
    [
        (BASE, "  r: 16", "  r: 8", {"train": TRAININGS, **FOLLOWS, **END}),
        (BASE, "num_beams: 1", "num_beams: 2", GENERATED),
        (
            f"{LIBRARY}/training/loss.py", "HEAD_CHUNK = 1024", "HEAD_CHUNK = 512",
            {"train": TRAININGS, **FOLLOWS, **END},
        ),
        (f"{LIBRARY}/generation/progress.py", 'desc="summarising"', 'desc="writing"', GENERATED),
        (
            f"{LIBRARY}/reporting/score_plots.py", "LINE_INCHES = 0.2", "LINE_INCHES = 0.3",
            {"plot": 1, "report": 1},
        ),
        (TEXTS, "ko: 학습과 비용", "ko: 비용과 학습", {}),  # the study's report is in English
        (TEXTS, "en: Training and cost", "en: Cost", {"model_card": TRAININGS, **END}),
    ],
)  # fmt: skip
def test_a_setting_or_a_line_of_code_plans_its_step_and_what_follows(
    project, file, old, new, planned
):
    project.replace(file, old, new)
    assert project.planned() == planned


@pytest.mark.parametrize(
    ("changes", "planned"),
    [
        (
            {"metric": {**SMALL["metric"], "seed": 7}},
            {"floors": 1, "score": 3, "model_card": TRAININGS, **END},
        ),
        ({"description": "Another question."}, {"model_card": TRAININGS, "report": 1}),
        ({"report": {"language": "ko"}}, {"plot": 1, "model_card": TRAININGS, "report": 1}),
    ],
)
def test_a_key_of_the_study_plans_what_shows_it(project, changes, planned):
    project.write_study("small", {**SMALL, **changes})
    assert project.planned() == planned


def test_another_seed_plans_its_own_trainings_alone(project):
    """And every model card, for it cites the tables."""
    wanted = ("--config", "study=small", "debug=true", "seeds=[42,43]")
    cards = {"model_card": 2 * TRAININGS}
    assert project.planned(*wanted) == {"train": TRAININGS, **FOLLOWS, **END, **cards}


@pytest.mark.slow
def test_a_seed_is_trained_and_summarised_before_the_next(project):
    wanted = ("--config", "study=small", "debug=true", "seeds=[44,43]")
    shown = project.run("--cores", "1", "--resources", "gpu=1", *wanted)
    order = re.findall(r"(?:Training|Summarising with) .* · seed (\d+)", shown)
    assert order == sorted(order, reverse=True) and set(order) == {"44", "43"}


def test_one_more_format_plans_only_its_cells_and_the_end(project):
    project.write_study("small", {**SMALL, "formats": ["chat", "instruction"]})
    assert project.planned() == {
        "build_dataset": TRAININGS,
        "generate_zero_shot": 1,
        "train": TRAININGS,
        "generate": TRAININGS,
        "score": TRAININGS + 1,
        "submission": TRAININGS + 1,
        "model_card": 2 * TRAININGS,  # each shows its floors, which stand in the tables
        **END,
    }


def test_examples_in_the_prompt_plan_their_runs_and_the_end(project):
    """Then they run: one more row, scored like the others, whose record names the examples."""
    project.write_study("small", {**SMALL, "few_shot": 2})
    alone = {"generate_few_shot": 1, "score": 1, "submission": 1}
    assert project.planned() == {**alone, "model_card": TRAININGS, **END}
    project.run()
    record = project.results / "few_shot/tiny_llama/chat/predictions/run.json"
    few_shot = json.loads(record.read_text(encoding="utf-8"))["few_shot"]
    assert len(few_shot["examples"]) == 2 and len(few_shot["sha256"]) == 64
    table = (project.results / "tables/differences.csv").read_text(encoding="utf-8")
    assert "few_shot-zero_shot,tiny_llama,,chat,few_shot," in table
    assert "fine_tuned-few_shot,tiny_llama,default,chat,fine_tuned_templates," in table
    project.write_study("small", {**SMALL, "few_shot": 3})
    assert project.planned() == {**alone, "model_card": TRAININGS, **END}


def with_a_variant(project):
    """The finished study, whose trainings are the first variant's now, and a second variant."""
    changes = {"training": {"learning_rate": "auto", "early_stopping_patience": 1}}
    project.write_study("small", {**SMALL, "variants": {"default": {}, "rate": changes}})
    return project


def test_one_more_variant_plans_only_its_trainings_and_the_end(project):
    cards = {"model_card": 2 * TRAININGS}
    assert with_a_variant(project).planned() == {"train": TRAININGS, **FOLLOWS, **END, **cards}
    alone = ("--config", "study=small", "debug=true", "variants=[default]")
    assert "train" not in project.planned(*alone)


@pytest.mark.slow
def test_a_second_variant_is_trained_compared_and_reported(project):
    with_a_variant(project).run()
    assert project.planned() == {}
    run = "runs/tiny_llama/rate/chat/fine_tuned/seed42"
    record = json.loads((project.results / run / "run.json").read_text(encoding="utf-8"))
    assert (record["run"]["variant"], record["learning_rate"]) == ("rate", 4.28e-3)
    log = project.path(f"logs/small-debug/train/{run.removeprefix('runs/')}.log")
    assert "learning_rate: auto is 0.00428 (" in log.read_text(encoding="utf-8")
    made_by = json.loads((project.results / run / "predictions/run.json").read_text())
    assert made_by["run"] == record["run"]
    differences = (project.results / "tables/differences.csv").read_text(encoding="utf-8")
    assert "variant-default,tiny_llama,rate,chat,fine_tuned,morphemes" in differences
    assert "Variant rate (1 seed), not tested" in (project.results / "report.html").read_text()
    assert "variant `rate`" in (project.results / run / "README.md").read_text(encoding="utf-8")
    submitted = project.results / "submission/tiny_llama-chat-fine_tuned-rate-seed42.csv"
    assert submitted.is_file()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (f"{LIBRARY}/data/prepare.py", '"leaks": leaks', '"leaks": dict(leaks)'),
        ("workflow/resources/dialogues/train.csv", "\n", " \n"),
    ],
)
def test_data_and_their_preparation_plan_everything(project, file, old, new):
    project.replace(file, old, new)
    planned = project.planned()
    assert (planned["prepare_data"], planned["train"]) == (1, TRAININGS)


def test_a_step_can_be_run_again_by_name(finished):
    assert finished.planned("-R", "plot") == {"plot": 1, "report": 1}


def test_weights_plan_by_their_content(project):
    """Not by times or places; a file that no step reads does not count, a changed byte does."""
    folder = project.path("workflow/resources/models/tiny_llama")
    aside = folder.with_name("aside")
    shutil.copytree(folder, aside, copy_function=shutil.copyfile)  # new times, new inodes
    shutil.rmtree(folder)
    aside.rename(folder)
    (folder / "notes.json").write_text("{}")
    assert project.planned() == {}
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert project.planned() == {"train": TRAININGS, **GENERATED}
