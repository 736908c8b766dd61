"""Mistakes in settings: model files, their bases, studies, names on the command line."""

from places import (
    BASE,
    BUILD,
    MODEL,
    PREPARE,
    TRAIN,
    Mistake,
    data,
    key,
    model,
    study,
    study_text,
)

MINE, STUDIES = "config/models/mine.yaml", "config/studies/mine.yaml"


def settings(make, *words, cure, command=PREPARE):
    return Mistake(make, command, words, cure)


def circle(place):
    place.write("config/models/mine.yaml", "_base_: other.yaml\n")
    place.write("config/models/other.yaml", "_base_: mine.yaml\n")


def linked_base(place):
    place.write("outside.yaml", MODEL)
    place.path("config/models/link.yaml").symlink_to(place.path("outside.yaml"))
    place.write("config/models/mine.yaml", "_base_: link.yaml\n")


def folder_for_a_file(place):
    place.path(MINE).unlink()
    place.path(MINE).mkdir()


SETTINGS = {
    "unknown key": settings(
        key("lora: {rank: 8}"), MINE, "lora.rank", cure="allowed here: alpha, double_quant"
    ),
    "unknown section": settings(
        key("trainning: {epochs: 1}"), MINE, "'trainning'", cure="did you mean 'training'"
    ),
    "key twice": settings(
        key("lora: {r: 4}\nlora: {r: 8}\n"), MINE, "line 4", "'lora'", cure="duplicate key"
    ),
    "tab": settings(key("lora:\n\tr: 4\n"), MINE, "line 4", cure="indent with spaces, not tabs"),
    "alias": settings(
        key("lora: &x {r: 4}\ntraining: *x\n"), MINE, "line 4", "aliases", cure="write the value"
    ),
    "tracking where wandb is not ready": settings(
        key("tracking: {wandb: true}"), "tracking.wandb:", cure="or set", command=TRAIN
    ),
    "Python object": settings(
        key("lora: !!python/object/apply:os.system ['touch CANARY']"), MINE, "line 3",
        cure="could not determine a constructor",
    ),
    "not UTF-8": settings(
        model(MODEL.encode() + b"# \xb0\xa1\n"), MINE, "byte", cure="save it as UTF-8"
    ),
    "NUL byte": settings(model(MODEL + "\0"), MINE, "not valid YAML", cure="not allowed"),
    "empty file": settings(model(""), MINE, "holds nothing", cure="must be a mapping"),
    "endless nesting": settings(model("a: " + "[" * 20_000), MINE, cure="recursion depth"),
    "folder for a file": settings(folder_for_a_file, MINE, "cannot be read", cure="directory"),
    "circle of bases": settings(circle, "_base_", "other.yaml", cure="in a circle: "),
    "base outside config": settings(
        model("_base_: ../../outside.yaml\n"), MINE, "_base_", cure="outside config/"
    ),
    "base by a link": settings(linked_base, MINE, "link.yaml", cure="outside config/"),
    "no checkpoint": settings(model(BASE), MINE, "model.checkpoint", "null", cure="must be a text"),
    "4 bits without adapters": settings(
        model(BASE + "model: {checkpoint: a/b}\nlora: {use_lora: false}\n"),
        *(MINE, "lora.use_qlora"),
        cure="set use_qlora: false or use_lora: true",
    ),
    "revision that YAML reads as a number": settings(
        model(BASE + "model: {checkpoint: a/b, revision: 1234567}\n"),
        *(MINE, "model.revision", "1234567"),
        cure="in quotes",
    ),
    "unknown study": settings(
        study(), "study 'mien'", "config/studies/mien.yaml", cure="did you mean 'mine'",
        command=("prepare_data.py", "--study", "mien"),
    ),
    "study that climbs out": settings(
        study(), "study '../models/mine'", cure="a name starts with a letter",
        command=("prepare_data.py", "--study", "../models/mine"),
    ),
    "experiment that climbs out": settings(
        study(), "model '../base/causal_lm'", cure="a name starts with a letter",
        command=("train_llm.py", "--experiment", "../base/causal_lm", "--study", "mine"),
    ),
    "model that is not in the study": settings(
        study(), "'tiny_llama' is not in study 'mine'", cure="it has: mine",
        command=(*BUILD[:4], "tiny_llama", *BUILD[5:]),
    ),
    "unknown model": settings(
        study(models=["tiny_lama"]), STUDIES, "tiny_lama.yaml", cure="did you mean 'tiny_llama'"
    ),
    "model name with a command": settings(
        study(models=["$(touch CANARY)"]), STUDIES, "models.0", cure="without .yaml"
    ),
    "override of an unknown key": settings(
        study(overrides={"training": {"steps": 3}}), f"{STUDIES}: overrides", "training.steps",
        cure="allowed here",
    ),
    "path of two lines": settings(
        data(train="data/train.csv\ntouch CANARY"), STUDIES, "data.train", cure="one line"
    ),
    "path with an endless part": settings(
        data(train="x" * 600 + ".csv"), "data.train", "does not exist", cure="correct the path"
    ),
    "study of broken YAML": settings(study_text("a: [1, 2\n"), STUDIES, "not valid", cure="line"),
}  # fmt: skip
