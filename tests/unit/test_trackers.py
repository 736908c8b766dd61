"""Trackers write real runs here, resume with the training, and never change or end it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import open_mlflow
import pytest
import wandb
from tiny_models import changed, write_checkpoint
from tiny_trainings import FailAfter, Fault, llm_trainer

from yoyak.config.loading import load_config
from yoyak.training.parallel import Ranks
from yoyak.training.trackers import tracked

NAMES = ["wandb", "tensorboard", "mlflow", "trackio"]
STEPS = list(range(1, 9))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), "llama")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory whose trackers need no network and write nothing elsewhere."""
    folder = tmp_path / "추적 place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name, value in {
        "WANDB_MODE": "offline",
        "WANDB_CONSOLE": "off",
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
        "MLFLOW_TRACKING_URI": "",
        "TENSORBOARD_LOGGING_DIR": "",
    }.items():
        monkeypatch.setenv(name, value)
    trackio_folder(tmp_path / "trackio", monkeypatch)
    yield folder
    wandb.teardown()  # its service


def trackio_folder(folder: Path, monkeypatch) -> None:
    """Trackio's folder, which it reads once, when it is imported."""
    monkeypatch.setenv("TRACKIO_DIR", str(folder))
    import trackio.sqlite_storage
    import trackio.utils

    for module in (trackio, trackio.utils, trackio.sqlite_storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", folder)


def train(tiny, names, output="out", stop=None, **settings):
    made = llm_trainer(tiny, output, minutes=1e-9 if stop else 1000, **settings)
    tracking = {"report_to": names, "project": "korean_dialogsum"}
    made.config = changed(made.config, tracking=tracking, experiment={"tags": ["llama", "3b"]})
    create = made._create_trainer

    def stopping():
        trainer = create()
        trainer.add_callback(FailAfter(stop))
        return trainer

    made._create_trainer = stopping
    try:
        made.train()
    except Fault:
        return None
    return Path(output, "final_model", "adapter_model.safetensors").read_bytes()


def test_each_tracker_has_one_run_of_a_training_that_resumes(tiny, place):
    plain = train(tiny, [], "plain")
    assert train(tiny, NAMES, stop=6) is None
    (kept,) = Path("out").rglob("tracking.json")
    ids = json.loads(kept.read_text())
    assert train(tiny, NAMES) == plain is not None
    assert not list(Path("out").rglob("tracking.json"))
    name = f"-fine_tuned-seed7-{ids['yoyak']}"
    check_wandb(ids["yoyak"])
    check_tensorboard(ids["yoyak"])
    check_mlflow(ids["mlflow"])
    check_trackio(name)


def check_wandb(known: str) -> None:
    folders = sorted(Path("wandb").glob("offline-run-*"))
    assert [folder.name.endswith(known) for folder in folders] == [True, True]
    written = (folders[1] / f"run-{known}.wandb").read_bytes()
    for said in (b"korean_dialogsum", b"llama", b"3b", b"warmup_ratio", b"train/loss"):
        assert said in written


def check_tensorboard(known: str) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = Path("tracking/tensorboard/korean_dialogsum").glob(f"*/{known}")
    read = EventAccumulator(str(folder))
    read.Reload()
    assert [event.step for event in read.Scalars("train/loss")] == STEPS
    (text,) = read.Tensors("settings/text_summary")[-1].tensor_proto.string_val
    assert json.loads(text.decode().strip("`\n"))["lora"]["r"] == 4


def check_mlflow(known: str) -> None:
    import mlflow

    (run,) = mlflow.search_runs(experiment_names=["korean_dialogsum"], output_format="list")
    assert (run.info.run_id, run.info.status) == (known, "FINISHED")
    assert run.data.tags["llama"] == run.data.tags["3b"] == "true"
    assert run.data.params["lora.r"] == "4" and run.data.params["run.seed"] == "7"
    losses = mlflow.MlflowClient().get_metric_history(known, "loss")
    assert sorted({point.step for point in losses}) == STEPS
    assert Path("tracking/mlflow").is_dir() and not Path("mlruns").exists()


def check_trackio(name: str) -> None:
    from trackio import Api
    from trackio.sqlite_storage import SQLiteStorage

    (run,) = Api().runs("korean_dialogsum")
    assert run.name.endswith(name)
    assert run.config["tags"] == ["llama", "3b"] and run.config["lora"]["r"] == 4
    rows = SQLiteStorage.get_logs("korean_dialogsum", run.name)
    assert {row["train/global_step"] for row in rows if "train/loss" in row} == set(STEPS)


def test_a_tracker_that_breaks_is_dropped_once_and_in_words(
    tiny,
    place,
    monkeypatch,
    caplog,
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(place / "mlflow"))
    plain = train(tiny, [], "plain")
    from transformers.integrations import MLflowCallback, TensorBoardCallback, WandbCallback

    def broken(*args, **kwargs):
        raise OSError("the disk\nhas gone")

    for callback in (MLflowCallback, TensorBoardCallback, WandbCallback):
        monkeypatch.setattr(callback, "on_log", broken)
    monkeypatch.setattr("trackio.init", broken)
    assert train(tiny, NAMES) == plain
    for name in NAMES:
        told = f"{name} fails (OSError: the disk has gone); the training continues without it"
        assert caplog.text.count(told) == 1


def test_a_server_that_goes_is_named_once(tiny, place, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", str(place / "mlflow"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    from transformers.integrations import MLflowCallback

    on_log = MLflowCallback.on_log

    def leaving(self, args, state, control, **kwargs):
        if state.global_step == 2:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        on_log(self, args, state, control, **kwargs)

    monkeypatch.setattr(MLflowCallback, "on_log", leaving)
    assert train(tiny, ["mlflow"])
    assert caplog.text.count("mlflow fails (") == 1
    assert "127.0.0.1" in caplog.text


def test_trainings_that_start_side_by_side_share_a_store_of_mlflows(place, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    command, pipe = [sys.executable, Path(open_mlflow.__file__)], subprocess.PIPE
    options = {"text": True, "bufsize": 1, "env": os.environ | {"PYTHONPATH": ":".join(sys.path)}}
    sides = [subprocess.Popen(command, stdin=pipe, stdout=pipe, **options) for _ in range(2)]
    stores = [place / f"store {number}" for number in range(12)]
    for store in stores:
        for side in sides:
            side.stdin.write(f"{store}\n")
        for side in sides:
            assert f"{store}\n" in side.stdout
    for side in sides:
        side.communicate()
    for store in stores:
        client = mlflow.MlflowClient(str(store))
        (made,) = client.search_experiments(filter_string="name = 'small'")
        assert len(client.search_runs([made.experiment_id])) == 2


def test_only_the_first_process_reports(place):
    config = changed(load_config("tiny_llama"), tracking={"report_to": NAMES})
    with tracked(SimpleNamespace(ranks=Ranks(1, 2)), config, {}):
        pass
    assert not list(place.iterdir())
