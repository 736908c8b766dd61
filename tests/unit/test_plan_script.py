"""plan.py: every training of a study in one table, without a network, or one line that says why."""

import socket
import subprocess
import sys
import time

import pytest
from plan import count_tokens, main, plan_run, power
from tiny_models import changed, write_checkpoint

from yoyak.config.loading import load_config
from yoyak.config.study import load_study
from yoyak.data.counts import absent_splits, count_rows
from yoyak.errors import PROJECT_ROOT, UserError
from yoyak.models import shapes
from yoyak.models.checkpoints import resolve_checkpoint
from yoyak.reporting.tables import write_table
from yoyak.run.gpus import described_gpu
from yoyak.run.plan_table import in_words


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
    for each in load_study("embedded").trainings():
        assert each.folder.removeprefix("runs/") in shown
    assert "All trainings: about" in shown and "cannot" not in shown
    assert "16 generations (4 zero-shot, 4 few-shot, 8 trained), of" in shown
    assert "takes here" in shown and "smallest that works" in shown


def test_a_training_that_may_stop_early_is_planned_to_its_end_and_says_so(
    checkpoints, monkeypatch, capsys
):
    study = load_study("embedded")
    for name, config in study.models.items():
        study.models[name] = changed(config, training={"early_stopping_patience": 2})
    monkeypatch.setattr("plan.load_study", lambda *_, **__: study)
    monkeypatch.setattr("sys.argv", ["plan.py"])
    main()
    said = "tiny_llama, default: planned to the last epoch; it may stop early"
    assert capsys.readouterr().out.count(said) == 1


def test_another_card_is_planned_for(checkpoints, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["plan.py", "--gpu_memory", "8", "--rate", "300"])
    main()
    shown = capsys.readouterr().out
    assert "cuda:0" in shown and "8.0 GiB free, 300 TFLOP/s in products: given" in shown


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
    runs = {each.augmentation: each for each in study.trainings() if each.model == "tiny_llama"}
    none, templates = (count_tokens(study, runs[name], config) for name in ("none", "templates"))
    assert templates[0] == 5 * none[0] and templates[1] == 5 * none[1]


def test_too_small_a_card_is_an_error_of_that_training(checkpoints):
    study = load_study("embedded")
    with pytest.raises(UserError, match="smallest plan needs"):
        plan_run(study, study.trainings()[0], described_gpu(0.1, 100))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, PROJECT_ROOT / "workflow/scripts/plan.py", *arguments],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", **environment},
        timeout=120,
    )


def test_shipped_models_need_no_network_and_no_gpu(tmp_path):
    """Whoever asks the Hub here waits for an answer that never comes."""
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        hub = {"HF_ENDPOINT": f"http://127.0.0.1:{hanging.getsockname()[1]}"}
        hub |= {"HF_HOME": str(tmp_path), "HOME": str(tmp_path)}
        began = time.monotonic()
        done = run("--study", "korean_dialogsum", "--device", "RTX 4090", **hub)
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - began < 30
    assert len([line for line in done.stdout.splitlines() if "/seed42 " in line]) == 16
    assert len([line for line in done.stdout.splitlines() if "/seed4" in line]) == 32
    assert "Trainings of variant mission: about" in done.stdout
    assert "Trainings of seed 42, which go first: about" in done.stdout
    assert (
        "Differences that 499 dialogues detect" in done.stdout and "  3 seeds: 2.0\n" in done.stdout
    )
    assert "  1 seed: 0.8, of these trainings alone" in done.stdout
    assert "80% of its data sheet" in done.stdout and "12,457 rows" in done.stdout


def test_where_nothing_can_be_planned_one_line_says_why(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    study = load_study("korean_dialogsum")
    for name, config in study.models.items():
        study.models[name] = changed(config, model={"checkpoint": f"owner/{name}"})
    monkeypatch.setattr("plan.load_study", lambda *_, **__: study)
    monkeypatch.setattr("sys.argv", ["plan.py", "--device", "H200"])
    with pytest.raises(UserError, match="no training .* can be planned: .*Hub cannot be reached"):
        main()
    assert capsys.readouterr().out == ""
    done = run("--study", "korean_dialogsum", "--gpu_memory", "3", HF_HUB_OFFLINE="1")
    assert done.returncode != 0 and done.stderr.count("\n") == 1 and "about" not in done.stdout
    assert "smallest plan needs 6.2 GiB" in done.stderr


def test_few_steps_are_warned_of(checkpoints, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["plan.py", "--debug", "--device", "T4"])
    main()
    assert capsys.readouterr().out.count("warning: tiny_llama: only ") == 1


def test_every_shipped_model_has_a_known_shape():
    """Either its files lie in the repository, or its shape is written down."""
    sizes = {"3B": 3.2e9, "4B": 4.0e9, "8B": 8.0e9}
    for file in sorted((PROJECT_ROOT / "config/models").glob("*.yaml")):
        model = load_config(file.stem).model
        shape = shapes.local_shape(model)
        assert shape is not None and shape.positions, file.name
        if model.size in sizes:
            assert shape.parameters == pytest.approx(sizes[model.size], rel=0.02)


@pytest.mark.parametrize("checkpoint", shapes.SHIPPED)
def test_a_known_shape_is_that_of_the_checkpoint(checkpoint):
    model = changed(load_config("llama_3.2_3b"), model={"checkpoint": checkpoint}).model
    try:
        found = resolve_checkpoint(model)
    except UserError:
        pytest.skip("its package is not installed")
    if not found.local and found.commit() is None:
        pytest.skip("it is not in the Hub's cache")
    known = shapes.shape_of(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "SHIPPED", {})
        assert shapes.shape_of(model) == known


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--device", "H200", "--rate", "100"], "--device names a known GPU"),
        (["--gpu_memory", "-1"], "--gpu_memory: must be more than 0"),
        (["--rate", "nan"], "--rate: must be more than 0"),
    ],
)
def test_bad_values_are_refused(monkeypatch, capsys, arguments, words):
    monkeypatch.setattr("sys.argv", ["plan.py", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2 and words in capsys.readouterr().err


def test_rows_come_from_the_data_where_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = load_study("korean_dialogsum")
    assert list(absent_splits(study)) == [f"data/raw/{s}.csv" for s in ("train", "dev", "test")]
    assert count_rows(study, "dev") == 499
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/dev.csv").write_text("fname,dialogue,summary,topic\na,b,c,d\n")
    assert count_rows(study, "dev") == 1 and "data/raw/dev.csv" not in absent_splits(study)


def test_power_comes_from_results_once_there_are_some(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = load_study("korean_dialogsum")
    assert "6.2 of dialogues, 0.6 of seeds: assumed" in power(study)
    folder = study.results / "tables"
    folder.mkdir(parents=True)
    rows = [{"comparison": "chat-instruction", "sd_dialogues": 10.0, "sd": 1.5, "verdict": "up"}]
    write_table(folder, "questions", [*rows, {"seed": 42, "difference": 3.0}], "note")
    assert "10.0 of dialogues, 1.5 of seeds: the largest of this study's" in power(study)
    write_table(folder, "questions", [{**rows[0], "sd": None}], "note")
    assert "10.0 of dialogues, 0.6 of seeds: this study's; seeds: assumed" in power(study)


def test_durations_in_words():
    assert [in_words(seconds) for seconds in (12, 600, 7200)] == ["12 s", "10 min", "2.0 h"]
