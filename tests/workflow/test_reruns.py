"""Reruns follow meaning: what a change plans, seen in real dry runs of a finished study."""

import json
import re
import shutil

import pytest
from workflow_project import SMALL

TRAININGS = 2
END = {"compare": 1, "plot": 1, "report": 1}
FOLLOWS = dict.fromkeys(("generate", "score", "submission", "model_card"), TRAININGS)


@pytest.fixture
def project(finished, tmp_path):
    return finished.copy(tmp_path / "study")


def test_nothing_is_planned_after_a_run(finished):
    assert finished.planned() == {}


def test_comments_docstrings_and_arguments_plan_nothing(project):
    for name in ("data/data_card.py", "training/loss.py"):
        file = project.path(f"workflow/scripts/yoyak/{name}")
        docstring, text = '"""Changed. ', file.read_text(encoding="utf-8").removeprefix('"""')
        file.write_text(f"# A comment.\n{docstring}{text}", encoding="utf-8")
    project.replace("workflow/scripts/train_llm.py", 'help="adapters;', 'help="with adapters;')
    assert project.planned() == {}


def test_a_plot_function_plans_plot_and_report(project):
    project.replace(
        "workflow/scripts/yoyak/reporting/score_plots.py", "LINE_INCHES = 0.2", "LINE_INCHES = 0.3"
    )
    assert project.planned() == {"plot": 1, "report": 1}


def test_the_loss_plans_training_and_what_follows(project):
    project.replace(
        "workflow/scripts/yoyak/training/loss.py", "HEAD_CHUNK = 1024", "HEAD_CHUNK = 512"
    )
    assert project.planned() == {"train": TRAININGS, **FOLLOWS, **END}


def test_lora_rank_plans_training_and_what_follows(project):
    project.replace("config/base/causal_lm.yaml", "  r: 16", "  r: 8")
    assert project.planned() == {"train": TRAININGS, **FOLLOWS, **END}


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


def test_generation_settings_plan_no_training(project):
    project.replace("config/base/causal_lm.yaml", "num_beams: 1", "num_beams: 2")
    assert project.planned() == {
        **FOLLOWS,
        **END,
        "generate_zero_shot": 1,
        "score": TRAININGS + 1,
        "submission": TRAININGS + 1,
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("token_budget: auto", "token_budget: 512"),
        ("threads: auto", "threads: 1"),
        ("base_weights: auto", "base_weights: nf4"),
        ("gradient_checkpointing: auto", "gradient_checkpointing: true"),
        ("optim: auto", "optim: paged_adamw_32bit"),
        ("wandb: false", "wandb: true"),
    ],
)
def test_execution_and_tracking_plan_nothing(project, old, new):
    project.replace("config/base/causal_lm.yaml", old, new)
    assert project.planned() == {}


def test_key_order_and_comments_plan_nothing(project):
    study = json.dumps(dict(reversed(SMALL.items())), indent=3)
    project.path("config/studies/small.yaml").write_text("# the same\n" + study, encoding="utf-8")
    project.replace("config/models/tiny_llama.yaml", "_base_:", "# a comment\n_base_:")
    assert project.planned() == {}


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
    assert "few_shot-zero_shot,tiny_llama,chat,few_shot," in table
    assert "fine_tuned-few_shot,tiny_llama,chat,fine_tuned_templates," in table
    project.write_study("small", {**SMALL, "few_shot": 3})
    assert project.planned() == {**alone, "model_card": TRAININGS, **END}


def test_metric_settings_plan_scores_but_no_summary(project):
    metric = {**SMALL["metric"], "seed": 7}
    project.write_study("small", {**SMALL, "metric": metric})
    assert project.planned() == {"floors": 1, "score": 3, "model_card": TRAININGS, **END}


def test_what_a_model_card_shows_plans_the_cards(project):
    project.write_study("small", {**SMALL, "description": "Another question."})
    assert project.planned() == {"model_card": TRAININGS, "report": 1}


def test_new_data_plan_everything(project):
    with open(
        project.path("workflow/resources/dialogues/train.csv"), "a", encoding="utf-8"
    ) as file:
        file.write("extra_1,#Person1#: 안녕하세요.,#Person1#이 인사한다.,인사,\n")
    planned = project.planned()
    assert planned["prepare_data"] == 1
    assert planned["train"] == TRAININGS


def test_the_code_of_prepare_data_plans_what_follows_from_it(project):
    project.replace(
        "workflow/scripts/yoyak/data/prepare.py", '"leaks": leaks', '"leaks": dict(leaks)'
    )
    planned = project.planned()
    assert planned["prepare_data"] == 1
    assert planned["train"] == TRAININGS


def test_generation_code_plans_no_training(project):
    project.replace(
        "workflow/scripts/yoyak/generation/progress.py", 'desc="summarising"', 'desc="writing"'
    )
    planned = project.planned()
    assert "train" not in planned
    assert planned["generate"] == TRAININGS


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
    assert project.planned() == {
        **{"train": TRAININGS, "generate_zero_shot": 1, **FOLLOWS, **END},
        **{"score": TRAININGS + 1, "submission": TRAININGS + 1},
    }
