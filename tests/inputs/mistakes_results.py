"""Mistakes in result files: predictions, records, what another step should have written."""

import json

from places import SCORE, TRAIN, Mistake, study


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
        cell = {"model": "mine", "format": "chat", "condition": "zero_shot", "seed": None}
        place.write("data/predictions/run.json", json.dumps({"run": cell}))
        change(place, text)

    return Mistake(make, SCORE, words, cure)


def lines(edit):
    return lambda place, text: place.write("data/predictions/dev.jsonl", edit(text))


def record(content):
    return lambda place, _: place.write("data/predictions/run.json", content)


PREDICTED = "data/predictions/dev.jsonl"
AGAIN = "generate the predictions again"
RESULTS = {
    "predictions cut short": predictions(
        lines(lambda text: text[:-30]), PREDICTED, "line 4: not JSON", cure=AGAIN
    ),
    "predictions of fewer dialogues": predictions(
        lines(lambda text: text.split("\n")[0]), PREDICTED, "3 dialogues have none", cure=AGAIN
    ),
    "predictions of other dialogues": predictions(
        lines(lambda text: text.replace("dev1", "x1")), PREDICTED, "(x1)", cure=AGAIN
    ),
    "prediction twice": predictions(
        lines(lambda text: text + text), PREDICTED, "line 5", "'dev0'", cure=AGAIN
    ),
    "prediction without a key": predictions(
        lines(lambda text: text.replace('"finish"', '"end"')), "line 1: key 'finish'", cure=AGAIN
    ),
    "prediction that is a number": predictions(
        lines(lambda text: text.replace('"stop"', "1", 1)), "line 1: finish", cure="must be str"
    ),
    "predictions of nothing": predictions(lines(lambda _: ""), "no predictions", cure=AGAIN),
    "predictions that are no text": predictions(
        lines(lambda _: b"\xff"), PREDICTED, cure="not UTF-8 at byte 0"
    ),
    "record that is not there": predictions(
        lambda place, _: place.path("data/predictions/run.json").unlink(),
        *("data/predictions/run.json", "no such file"),
        cure=AGAIN,
    ),
    "record that is a list": predictions(record("[]"), "run.json", "under 'run'", cure=AGAIN),
    "record with a wrong cell": predictions(
        record('{"run": {"model": 1, "format": 2, "condition": 3, "seed": "x"}}'), "'run'",
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
