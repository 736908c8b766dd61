"""The table: ways to hand Yoyak something wrong, and what a script must say about it.

Of what a reader refuses one of a kind, for the way through a script; the others stand by it:
test_dirty_files.py, test_edges.py, tests/unit/test_config.py, test_checkpoints.py, test_scoring.py.
"""

import json
import os
import pickle
import shutil

from places import (
    BASE,
    BUILD,
    GENERATE,
    HEADER,
    PREPARE,
    SCORE,
    STUDY,
    TALK,
    TRAIN,
    Mistake,
    checkpoint,
    data,
    file,
    json_lines,
    key,
    model,
    row,
    study,
    study_text,
    train,
)

MINE, STUDIES = "config/models/mine.yaml", "config/studies/mine.yaml"


def told(make, *words, cure, command=PREPARE):
    return Mistake(make, command, words, cure)


def folder_for_a_file(place):
    place.path(MINE).unlink()
    place.path(MINE).mkdir()


SETTINGS = {
    "unknown key": told(
        key("lora: {rank: 8}"), MINE, "lora.rank", cure="allowed here: alpha, alpha_pattern"
    ),
    "tracking where wandb is not ready": told(
        key("tracking: {report_to: [wandb]}"), "tracking.report_to: wandb", command=TRAIN,
        cure="or take wandb out of the list",
    ),
    "Python object": told(
        key("lora: !!python/object/apply:os.system ['touch CANARY']"), MINE, "line 3",
        cure="could not determine a constructor",
    ),
    "folder for a file": told(folder_for_a_file, MINE, "cannot be read", cure="directory"),
    "no checkpoint": told(model(BASE), MINE, "model.checkpoint", "null", cure="must be a text"),
    "unknown study": told(
        study(), "study 'mien'", "config/studies/mien.yaml", cure="did you mean 'mine'",
        command=("prepare_data.py", "--study", "mien"),
    ),
    "study that climbs out": told(
        study(), "study '../models/mine'", cure="a name starts with a letter",
        command=("prepare_data.py", "--study", "../models/mine"),
    ),
    "experiment that climbs out": told(
        study(), "model '../base/causal_lm'", cure="a name starts with a letter",
        command=("train_llm.py", "--experiment", "../base/causal_lm", "--study", "mine"),
    ),
    "model that is not in the study": told(
        study(), "'tiny_llama' is not in study 'mine'", cure="it has: mine",
        command=(*BUILD[:4], "tiny_llama", *BUILD[5:]),
    ),
    "unknown model": told(
        study(models=["tiny_lama"]), STUDIES, "tiny_lama.yaml", cure="did you mean 'tiny_llama'"
    ),
    "model name with a command": told(
        study(models=["$(touch CANARY)"]), STUDIES, "models.0", cure="without .yaml"
    ),
    "override of an unknown key": told(
        study(overrides={"training": {"steps": 3}}), f"{STUDIES}: overrides", "training.steps",
        cure="allowed here",
    ),
    "path of two lines": told(
        data(train="data/train.csv\ntouch CANARY"), STUDIES, "data.train", cure="one line"
    ),
    "path with an endless part": told(
        data(train="x" * 600 + ".csv"), "data.train", "does not exist", cure="correct the path"
    ),
    "study of broken YAML": told(study_text("a: [1, 2\n"), STUDIES, "not valid", cure="line"),
}  # fmt: skip


def pipe(place):
    os.mkfifo(place.path("data/pipe.csv"))
    place.study(data={**STUDY["data"], "train": "data/pipe.csv"})


def only_leaks(place):
    shutil.copy(place.path("data/dev.csv"), place.path("data/train.csv"))


CSV = "data/train.csv"
DATA = {
    "no such file": told(data(train="none.csv"), "data.train", "none.csv", cure="put the train"),
    "missing mapped column": told(
        data(columns={"group": "source"}), CSV, "column missing: source", cure="data.columns"
    ),
    "seven bad rows": told(
        row("".join(f"x{n},,b,c\n" for n in range(7))), CSV, "7 bad rows", "32-38", cure="Correct"
    ),
    "folder of nothing": told(data(train="config"), "config", "no state.json", cure="name a .csv"),
    "named pipe": told(pipe, "data/pipe.csv", "is not a regular file", cure="save it as"),
    "device": told(data(train="/dev/zero"), "/dev/zero", "not a regular file", cure="save it as"),
    "JSON document of other names": told(
        json_lines('{"data": [{"head": {"id": 1}}]}'), "the file has: head.id", cure="data.columns"
    ),
    "training data all in dev": told(only_leaks, "data.train", "all of its 4", cure="another file"),
    "one row to hold out of": told(
        train(HEADER + f"a,{TALK},b,c\n"), "1 dialogue(s)", cure="data.selection: dev"
    ),
}  # fmt: skip


def weights(make, *words, cure, command=GENERATE, weight="light"):
    return Mistake(make, command, ("model.checkpoint", *words), cure, weight)


def only(suffix, content=b"x"):
    """The weights under another ending."""

    def make(place):
        place.path("checkpoint/model.safetensors").unlink()
        place.write(f"checkpoint/{suffix}", content)

    return make


def without(name):
    return lambda place: place.path(f"checkpoint/{name}").unlink()


CHECKPOINTS = {
    "no such folder": weights(checkpoint("no/such/folder"), "no/such/folder", cure="owner/name"),
    "adapter for a model": weights(
        lambda place: (without("config.json")(place), file("adapter_config.json", "{}")(place)),
        *("no config.json", "holds an adapter"),
        cure="name the base model",
    ),
    "pickled weights only": weights(
        only("pytorch_model.bin", pickle.dumps({"a": print})), "pickled ones can run code",
        cure="convert them first",
    ),
    "weights cut short": weights(
        lambda place: place.cut("checkpoint/model.safetensors", 5000),
        *("model.safetensors is damaged",),
        cure="download it again",
    ),
    "tensor larger than the file": weights(
        lambda place: place.safetensors(
            "checkpoint/model.safetensors",
            {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}},
        ),
        *("is damaged",),
        cure="download it again",
    ),
}  # fmt: skip


def heavy(make, *words, cure, command=BUILD):
    return Mistake(make, command, words, cure, "heavy")


def tokenizer_code(place):
    place.write("checkpoint/code.py", "open('CANARY', 'w')\nclass A: pass\n")
    place.edit_json(
        "checkpoint/tokenizer_config.json",
        tokenizer_class="A",
        auto_map={"AutoTokenizer": ["code.A", "code.A"]},
    )


def adapter(change):
    """A folder that looks like an adapter, with one thing wrong."""

    def make(place):
        place.write("adapter/adapter_config.json", json.dumps({"peft_type": "LORA", "r": 4}))
        place.safetensors("adapter/adapter_model.safetensors", {})
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(place.path(f"checkpoint/{name}"), place.path(f"adapter/{name}"))
        change(place)

    return make


ADAPTED = (*GENERATE, "--adapter", "adapter", "--condition", "fine_tuned")

TOKENIZERS = {
    "tokenizer_config.json that is no JSON": heavy(
        file("tokenizer_config.json", "{"), "model.checkpoint 'checkpoint'", cure="cannot be loaded"
    ),
    "tokenizer with code of its own": heavy(
        tokenizer_code, "model.checkpoint 'checkpoint'", "refused", cure="choose a checkpoint"
    ),
    "tokenizer without chat template": heavy(
        without("chat_template.jinja"), "has no chat template", cure="model.chat_template: llama"
    ),
    "chat template that is no Jinja": heavy(
        file("chat_template.jinja", "{% if %}"), "chat_template.jinja", "TemplateSyntaxError",
        cure="use the instruction format",
    ),
    "prompt without room": heavy(
        key("tokenizer: {encoder_max_len: 32}"),
        "tokenizer.encoder_max_len: 32 tokens",
        cure="raise it",
    ),
    "adapter that is not there": Mistake(
        study(), ADAPTED, ("adapter: no such folder",), "train this model first"
    ),
    "adapter cut short": heavy(
        adapter(lambda place: place.write("adapter/adapter_model.safetensors", b"\x08")),
        *("adapter", "damaged"),
        cure="train it again", command=ADAPTED,
    ),
}  # fmt: skip


def predictions(change, *words, cure):
    """A good prediction file with one thing wrong."""

    def make(place):
        lines = [
            {"fname": f"dev{n}", "prediction": "인사", "prompt_tokens": 5, "new_tokens": 2,
             "finish": "stop", "dialogue_shortened": False}
            for n in range(4)
        ]  # fmt: skip
        text = "".join(json.dumps(line) + "\n" for line in lines)
        place.write("data/predictions/dev.jsonl", text)
        run = {"model": "mine", "variant": None, "format": "chat"}
        run |= {"condition": "zero_shot", "seed": None}
        place.write("data/predictions/run.json", json.dumps({"run": run}))
        change(place, text)

    return Mistake(make, SCORE, words, cure)


def lines(edit):
    return lambda place, text: place.write("data/predictions/dev.jsonl", edit(text))


PREDICTED = "data/predictions/dev.jsonl"
AGAIN = "generate the predictions again"
RESULTS = {
    "predictions cut short": predictions(
        lines(lambda text: text[:-30]), PREDICTED, "line 4: not JSON", cure=AGAIN
    ),
    "predictions of other dialogues": predictions(
        lines(lambda text: text.replace("dev1", "x1")), PREDICTED, "(x1)", cure=AGAIN
    ),
    "record that is not there": predictions(
        lambda place, _: place.path("data/predictions/run.json").unlink(),
        *("data/predictions/run.json", "no such file"),
        cure=AGAIN,
    ),
    "examples that are not there": Mistake(
        study(), TRAIN, ("data/examples/train.safetensors",), "build the examples first"
    ),
    "scores that are not there": Mistake(
        study(), ("compare.py", "--study", "mine", "--results", "results/mine", "--output-dir",
                  "results/mine/tables"),
        ("results/mine/data/dev.csv", "no such file"), "run prepare_data.py",
    ),
    "tables that are not there": Mistake(
        study(), ("plot.py", "--study", "mine", "--results", "results/mine", "--output-dir",
                  "results/mine/plots"),
        ("results/mine/tables/", "cannot be read"), "run compare.py (again)",
    ),
}  # fmt: skip

TABLE = {
    f"{group}: {name}": mistake
    for group, part in (
        ("settings", SETTINGS),
        ("data", DATA),
        ("checkpoint", CHECKPOINTS),
        ("tokenizer", TOKENIZERS),
        ("results", RESULTS),
    )
    for name, mistake in part.items()
}
