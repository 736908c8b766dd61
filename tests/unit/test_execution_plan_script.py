"""plan.py: every cell of a study in one table, and in words where one cannot be planned."""

import pytest
from plan import count_tokens, in_words, main, plan_run
from tiny_models import write_checkpoint

from yoyak.config.study import load_study


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    for family in ("llama", "qwen3"):
        write_checkpoint(tmp_path / f"workflow/resources/models/tiny_{family}", family)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_cell_has_a_row(checkpoints, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["plan.py", "--study", "embedded"])
    main()
    shown = capsys.readouterr().out
    for cell in load_study("embedded").trainings():
        assert cell.folder.removeprefix("runs/") in shown
    assert "all trainings together about" in shown and "cannot" not in shown


def test_another_card_is_planned_for(checkpoints, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["plan.py", "--gpu_memory", "8", "--rate", "300"])
    main()
    shown = capsys.readouterr().out
    assert "cuda:0" in shown and "a GPU with 8 GiB free" in shown and "(assumed)" in shown


def test_a_missing_checkpoint_is_said_once(checkpoints, monkeypatch, capsys):
    folder = checkpoints / "workflow/resources/models/tiny_llama"
    (folder / "config.json").unlink()
    monkeypatch.setattr("sys.argv", ["plan.py"])
    main()
    shown = capsys.readouterr().out
    assert shown.count("has no config.json") == 1
    assert shown.count("cannot be planned: see below") == 4


def test_templates_are_five_examples_a_dialogue(checkpoints):
    study = load_study("embedded")
    config = study.models["tiny_llama"]
    runs = {run.augmentation: run for run in study.trainings() if run.model == "tiny_llama"}
    none, templates = (count_tokens(study, runs[name], config) for name in ("none", "templates"))
    assert templates[0] == 5 * none[0] and templates[1] == 5 * none[1]


def test_too_small_a_card_is_an_error_of_that_cell(checkpoints):
    from yoyak.errors import UserError

    study = load_study("embedded")
    machine = {"device": "cuda:0", "free_bytes": 10, "supports_bf16": True, "rate": 1e14}
    with pytest.raises(UserError, match="smallest plan needs"):
        plan_run(study, study.trainings()[0], machine)


def test_durations_in_words():
    assert [in_words(seconds) for seconds in (12, 600, 7200)] == ["12 s", "10 min", "2.0 h"]
