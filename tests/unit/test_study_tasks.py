"""plan.py --gpus: the full study without a GPU or data, and measured times where there are some."""

import copy
import json

import pytest
from plan import main

from yoyak.config.study import load_study
from yoyak.data.counts import absent_splits, count_rows
from yoyak.errors import UserError
from yoyak.run.cards import CARDS, LLAMA_3B, QWEN_4B, SHAPES, card_named, generation_rate
from yoyak.run.schedule import busy_seconds
from yoyak.run.study_tasks import study_tasks

ARGUMENTS = ["plan.py", "--study", "korean_dialogsum", "--device", "H200"]


@pytest.fixture
def study(tmp_path, monkeypatch):
    """The full study in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return load_study("korean_dialogsum")


def predicted(study):
    return {cell.folder: 100.0 for cell in study.trainings()}, dict.fromkeys(study.models, 10.0)


def write_record(study, folder, seconds, gpu="NVIDIA H200", devices=None, bench=None):
    record = {"wall_seconds": seconds, "hardware": {"gpu": gpu and {"name": gpu}}}
    if devices:
        record["execution"] = {"devices": devices}
    (study.results / folder).mkdir(parents=True, exist_ok=True)
    (study.results / folder / "run.json").write_text(json.dumps(record))
    if bench:
        name = "-".join(folder.split("/")[1:])
        file = study.results / "benchmarks" / "train" / f"{name}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"s\tmax_rss\n{bench}\t10\n")


def run(monkeypatch, capsys, *arguments) -> str:
    monkeypatch.setattr("sys.argv", [*ARGUMENTS, *arguments])
    main()
    return capsys.readouterr().out


def summary(shown: str) -> dict[str, list[str]]:
    """The last table's rows by number of GPUs."""
    lines = shown[shown.index("GPUs  ") :].splitlines()[1:-1]
    return {line.split()[0]: line.split() for line in lines}


def test_the_full_study_on_1_4_and_16_cards_needs_no_gpu_and_no_data(study, monkeypatch, capsys):
    shown = run(monkeypatch, capsys, "--gpus", "1", "4", "16", "--price-per-hour", "2")
    rows = summary(shown)
    assert list(rows) == ["1", "4", "16"]
    assert "Planned, not measured" in shown and "0 of them measured in this study" in shown
    assert "data/raw/train.csv is not there: planned for 12,457 rows" in shown
    assert "cannot" not in shown and "tests/benchmarks/README.md" in shown
    busy = {number: float(row[-3]) for number, row in rows.items()}
    assert len(set(busy.values())) == 1 and 1 < busy["1"] < 6
    held = [float(row[-2]) for row in rows.values()]
    assert held[0] == busy["1"] and held == sorted(held)
    assert float(rows["1"][-1]) == pytest.approx(2 * held[0], abs=0.11)


def test_one_number_shows_what_runs_when_and_where(study, monkeypatch, capsys):
    shown = run(monkeypatch, capsys, "--gpus", "4", "--devices", "2")
    lines = [line for line in shown.splitlines() if "(predicted)" in line]
    assert len(lines) == 8 + 8 + 4
    assert "device 0,1" in lines[0] and "train qwen3_4b" in lines[0]


def test_generations_follow_their_trainings(study):
    tasks = {task.name: task for task in study_tasks(study, *predicted(study))}
    assert len(tasks) == 20
    name = "llama_3.2_3b-chat-fine_tuned-seed42"
    assert tasks[f"generate {name}"].after == (f"train {name}",)
    assert tasks["generate qwen3_4b-chat-zero_shot"].after == ()
    assert busy_seconds(tasks.values()) == 8 * 100 + 12 * 10
    assert not any(task.measured for task in tasks.values())


def test_measured_times_take_the_place_of_predicted_ones(study):
    run = study.trainings()[0].folder
    write_record(study, run, 40.0, bench=55.0)
    write_record(study, study.trainings()[1].folder, 70.0, gpu=None)
    (study.results / study.trainings()[2].folder).mkdir(parents=True)
    (study.results / study.trainings()[2].folder / "run.json").write_text("{cut")
    tasks = {task.name: task for task in study_tasks(study, *predicted(study))}
    measured = {name: task.seconds for name, task in tasks.items() if task.measured}
    assert measured == {
        "train llama_3.2_3b-instruction-fine_tuned-seed42": 55.0,
        "train llama_3.2_3b-instruction-fine_tuned_templates-seed42": 70.0,
    }
    for_card = study_tasks(study, *predicted(study), card="H200")
    assert [task.seconds for task in for_card if task.measured] == [55.0]
    assert not any(task.measured for task in study_tasks(study, *predicted(study), card="other"))


def test_a_time_measured_on_more_devices_is_scaled(study):
    cell = study.trainings()[0]
    write_record(study, cell.folder, 40.0, devices=4)
    config = copy.deepcopy(study.models[cell.model])
    config.execution.devices = 2
    study.models[cell.model] = config
    tasks = {task.name: task for task in study_tasks(study, *predicted(study))}
    task = tasks["train llama_3.2_3b-instruction-fine_tuned-seed42"]
    assert (task.seconds, task.gpus) == (80.0, 2)


def test_rows_come_from_the_data_where_they_are(study, tmp_path):
    assert list(absent_splits(study)) == [f"data/raw/{s}.csv" for s in ("train", "dev", "test")]
    assert count_rows(study, "dev") == 499
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/dev.csv").write_text("fname,dialogue,summary,topic\na,b,c,d\n")
    assert count_rows(study, "dev") == 1 and "data/raw/dev.csv" not in absent_splits(study)


def test_cards_and_shapes():
    assert SHAPES["Qwen/Qwen3-4B-Instruct-2507"] == QWEN_4B
    card = card_named("h200")
    assert card is CARDS["H200"]
    assert generation_rate(card, LLAMA_3B, card.rate, True) == 10_650
    # An estimate from the weights, and from the product rate for another card.
    assert 5_000 < generation_rate(card, QWEN_4B, card.rate, True) < 10_650
    assert generation_rate(None, LLAMA_3B, card.rate / 2, True) == pytest.approx(5_325)
    with pytest.raises(UserError, match="no figures of 'H300' .there are: H200"):
        card_named("H300")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--gpus", "0"], "whole numbers from 1"),
        (["--gpus", "-4"], "whole numbers from 1"),
        (["--gpus", "two"], "invalid int value"),
        (["--rate", "100"], "--device names a known card"),
        (["--price-per-hour", "1"], "needs --gpus"),
        (["--gpus", "1", "--price-per-hour", "-1"], "must be 0 or more"),
        (["--gpus", "1", "--price-per-hour", "nan"], "must be 0 or more"),
    ],
)
def test_bad_values_are_refused(study, monkeypatch, capsys, arguments, words):
    monkeypatch.setattr("sys.argv", [*ARGUMENTS, *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2 and words in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--devices", "0"], "execution.devices: found 0"),
        (["--devices", "4", "--gpus", "2"], "takes 4 devices at once"),
    ],
)
def test_numbers_of_devices_are_checked(study, monkeypatch, arguments, words):
    monkeypatch.setattr("sys.argv", [*ARGUMENTS, *arguments])
    with pytest.raises(UserError, match=words):
        main()
