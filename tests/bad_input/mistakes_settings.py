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
    metric,
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
        key("lora: {r: 4}\nlora: {r: 8}\n"), MINE, "line 4", "'lora' stands twice", cure="twice"
    ),
    "key twice inside": settings(key("lora: {r: 4, r: 8}"), MINE, "'r'", cure="stands twice"),
    "tab": settings(key("lora:\n\tr: 4\n"), MINE, "line 4", cure="indent with spaces, not tabs"),
    "alias": settings(
        key("lora: &x {r: 4}\ntraining: *x\n"), MINE, "line 4", "aliases", cure="write the value"
    ),
    "tracking where wandb is not ready": settings(
        key("tracking: {wandb: true}"), "tracking.wandb:", cure="or set", command=TRAIN
    ),
    "not a number": settings(
        key("training: {learning_rate: .nan}"), MINE, "training.learning_rate: found NaN",
        cure="must be a finite number",
    ),
    "huge exponent": settings(
        key("lora: {alpha: 1e999}"), MINE, "lora.alpha: found Infinity",
        cure="must be a finite number",
    ),
    "number with too many digits": settings(
        key("lora: {r: " + "9" * 5000 + "}"), MINE, cure="not valid YAML"
    ),
    "Python object": settings(
        key("lora: !!python/object/apply:os.system ['touch CANARY']"), MINE, "line 3",
        cure="could not determine a constructor",
    ),
    "escape in a name": settings(
        key('experiment: {name: "\\e[31m"}'), MINE, "experiment.name", cure="A-Z a-z 0-9"
    ),
    "not UTF-8": settings(
        model(MODEL.encode() + b"# \xb0\xa1\n"), MINE, "byte", cure="save it as UTF-8"
    ),
    "UTF-16": settings(model(MODEL.encode("utf-16")), MINE, "byte 0", cure="save it as UTF-8"),
    "NUL byte": settings(model(MODEL + "\0"), MINE, "not valid YAML", cure="not allowed"),
    "empty file": settings(model(""), MINE, "holds nothing", cure="must be a mapping"),
    "list instead of keys": settings(model("- a\n"), MINE, "a list", cure="must be a mapping"),
    "plain text": settings(model("hello"), MINE, "a str", cure="must be a mapping"),
    "endless nesting": settings(model("a: " + "[" * 20_000), MINE, cure="recursion depth"),
    "open bracket": settings(model("_base_: [\n"), MINE, "not valid YAML", cure="line 2"),
    "two documents": settings(model(MODEL + "---\na: 1\n"), MINE, "not valid YAML", cure="single"),
    "number as a key": settings(model("1: x\n"), MINE, "line 1", cure="a key must be a text"),
    "folder for a file": settings(folder_for_a_file, "model 'mine'", cure="there are:"),
    "circle of bases": settings(circle, "_base_", "other.yaml", cure="in a circle: "),
    "its own base": settings(model("_base_: mine.yaml\n"), MINE, cure="in a circle: "),
    "base outside config": settings(
        model("_base_: ../../outside.yaml\n"), MINE, "_base_", cure="outside config/"
    ),
    "base of the system": settings(
        model("_base_: /etc/passwd\n"), MINE, "/etc/passwd", cure="outside config/"
    ),
    "base by a link": settings(linked_base, MINE, "link.yaml", cure="outside config/"),
    "base that is not there": settings(
        model("_base_: none.yaml\n"), MINE, "none.yaml", cure="is no file"
    ),
    "several bases": settings(
        model("_base_: [a.yaml, b.yaml]\n"), MINE, "_base_", cure="the path of one YAML file"
    ),
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
    "unknown chat template": settings(
        model(BASE + "model: {checkpoint: a/b, chat_template: mistral}\n"),
        *(MINE, "model.chat_template", "mistral"),
        cure="must be 'llama', 'qwen', 'gemma' or None",
    ),
    "no projections": settings(
        key("lora: {target_modules: []}"), MINE, "lora.target_modules", cure="all-linear"
    ),
    "device with a command": settings(
        key("execution: {device: 'cuda:0; touch CANARY'}"), MINE, "execution.device", cure="auto"
    ),
    "unknown study": settings(
        study(), "study 'mien'", "config/studies/mien.yaml", cure="did you mean 'mine'",
        command=("prepare_data.py", "--study", "mien"),
    ),
    "study that climbs out": settings(
        study(), "study '../models/mine'", cure="there are:",
        command=("prepare_data.py", "--study", "../models/mine"),
    ),
    "experiment that climbs out": settings(
        study(), "model '../base/causal_lm'", cure="there are:",
        command=("train_llm.py", "--experiment", "../base/causal_lm", "--study", "mine"),
    ),
    "model that is not in the study": settings(
        study(), "'tiny_llama' is not in study 'mine'", cure="it has: mine",
        command=(*BUILD[:4], "tiny_llama", *BUILD[5:]),
    ),
    "unknown study key": settings(
        study(modles=["mine"]), STUDIES, "'modles'", cure="did you mean 'models'"
    ),
    "study without data": settings(study(data=...), STUDIES, cure="key 'data' is missing"),
    "no models": settings(study(models=[]), STUDIES, "models: found []", cure="not empty"),
    "model twice": settings(study(models=["mine", "mine"]), STUDIES, cure="no value twice"),
    "models as text": settings(study(models="mine"), STUDIES, "models", cure="must be a list"),
    "unknown model": settings(
        study(models=["tiny_lama"]), STUDIES, "tiny_lama.yaml", cure="did you mean 'tiny_llama'"
    ),
    "model name that climbs out": settings(
        study(models=["../../x"]), STUDIES, "models.0", cure="without .yaml"
    ),
    "model name with a command": settings(
        study(models=["$(touch CANARY)"]), STUDIES, "models.0", cure="without .yaml"
    ),
    "model name with a line break": settings(
        study(models=["mine\n"]), STUDIES, "models.0", cure="without .yaml"
    ),
    "unknown format": settings(
        study(formats=["poem"]), STUDIES, "formats.0", cure="'instruction' or 'chat'"
    ),
    "no seeds": settings(study(seeds=[]), STUDIES, "seeds: found []", cure="not empty"),
    "negative seed": settings(study(seeds=[-1]), STUDIES, "seeds.0: found -1", cure="at least 0"),
    "seed too large": settings(study(seeds=[2**32]), STUDIES, "seeds.0", cure="4294967295"),
    "seed as text": settings(study(seeds=["42"]), STUDIES, "seeds.0", cure="a whole number"),
    "language that nobody taught": settings(
        study(language="de"), STUDIES, 'language: found "de"', cure="'ko' or 'en'"
    ),
    "override of an unknown key": settings(
        study(overrides={"training": {"steps": 3}}), f"{STUDIES}: overrides", "training.steps",
        cure="allowed here",
    ),
    "override out of range": settings(
        study(overrides={"lora": {"r": 0}}), f"{STUDIES}: overrides", "lora.r: found 0",
        cure="at least 1",
    ),
    "primary metric that is not counted": settings(
        metric(primary="characters"), STUDIES, "metric.primary", cure="metric.tokenizers (words)"
    ),
    "English tokens for Korean": settings(
        metric(primary="english", tokenizers=["english"]), STUDIES, "would score 0",
        cure="use morphemes",
    ),
    "too few resamples": settings(metric(resamples=1), STUDIES, "resamples", cure="at least 100"),
    "selection of nearly all": settings(
        data(selection_fraction=0.9), STUDIES, "selection_fraction: found 0.9", cure="at most 0.5"
    ),
    "path of two lines": settings(
        data(train="data/train.csv\ntouch CANARY"), STUDIES, "data.train", cure="one line"
    ),
    "endless path": settings(data(dev="x" * 5000), STUDIES, "data.dev", cure="1,000 characters"),
    "path with an endless part": settings(
        data(train="x" * 600 + ".csv"), "data.train", "does not exist", cure="correct the path"
    ),
    "column as a number": settings(
        data(columns={"fname": 7}), STUDIES, "data.columns.fname: found 7", cure="must be a text"
    ),
    "no summary column": settings(
        data(columns={"summaries": []}), STUDIES, "data.columns.summaries", cure="not empty"
    ),
    "study of broken YAML": settings(study_text("a: [1, 2\n"), STUDIES, "not valid", cure="line"),
}  # fmt: skip
