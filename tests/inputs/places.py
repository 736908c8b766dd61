"""What the table of mistakes is written with: one project, and a hand to put things wrong in it."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TALK = "#Person1#: 안녕하세요.\\n#Person2#: 네 안녕하세요."
HEADER = "fname,dialogue,summary,topic\n"
BASE = "_base_: ../base/causal_lm.yaml\n"
PLAIN = BASE + "model: {dtype: fp32}\nlora: {use_qlora: false}\n"
MODEL = "_base_: plain.yaml\nmodel: {checkpoint: checkpoint}\n"
STUDY = {
    "description": "One model that is never trained.",
    "language": "ko",
    "data": {"train": "data/train.csv", "dev": "data/dev.csv"},
    "models": ["mine"],
    "formats": ["chat"],
    "augmentations": ["none"],
    "seeds": [42],
    "metric": {"primary": "words", "tokenizers": ["words"], "resamples": 100},
}
CARD = {
    "files": {name: {"path": f"data/{name}.csv"} for name in ("train", "dev")},
    "selection": {"selection": "held_out"},
}
PREPARE = ("prepare_data.py", "--study", "mine", "--output-dir", "results/mine/data")
GENERATE = (
    *("generate.py", "--study", "mine", "--experiment", "mine", "--format", "chat"),
    *("--data", "data", "--output-dir", "results/mine/predictions"),
)
BUILD = (
    *("build_dataset.py", "--study", "mine", "--experiment", "mine", "--format", "chat"),
    *("--data", "data", "--output-dir", "results/mine/examples"),
)
TRAIN = (
    *("train_llm.py", "--study", "mine", "--experiment", "mine", "--format", "chat"),
    *("--examples", "data/examples", "--output-dir", "results/mine/run"),
)
SCORE = (
    *("score.py", "--study", "mine", "--data", "data", "--predictions", "data/predictions"),
    *("--output-dir", "results/mine/scores"),
)


@dataclass(frozen=True)
class Mistake:
    """One row of the table.

    make: puts one thing wrong in a project that is right; command: the script and its arguments;
    words: what the error line must say: the file, the key or row, what was found;
    cure: what it must say about mending it; weight: "heavy" where transformers is needed.
    """

    make: Callable
    command: tuple
    words: tuple
    cure: str
    weight: str = "light"


class Place:
    """A project in which all is right until a mistake is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("config/models/plain.yaml", PLAIN)
        self.write("config/models/mine.yaml", MODEL)
        self.study()
        for name, rows in (("train", 30), ("selection", 3), ("dev", 4)):
            text = "".join(f"{name}{n},{TALK} {name} {n},인사 {n},인사\n" for n in range(rows))
            self.write(f"data/{name}.csv", HEADER + text)
        self.write("data/data_card.json", json.dumps(CARD))
        self.write("data/examples/run.json", json.dumps({"settings": {}, "data": {}}))
        original = folder / "workflow" / "resources" / "models" / "tiny_llama"
        shutil.copytree(original, folder / "checkpoint")
        self.write("results/earlier/report.html", "kept")

    def path(self, name: str) -> Path:
        return self.folder / name

    def write(self, name: str, content: str | bytes) -> None:
        raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_bytes(raw)

    def study(self, **changes) -> None:
        content = {**STUDY, **changes}
        content = {key: value for key, value in content.items() if value is not ...}
        self.write("config/studies/mine.yaml", json.dumps(content, ensure_ascii=False))

    def edit_json(self, name: str, **changes) -> None:
        content = json.loads(self.path(name).read_text(encoding="utf-8"))
        self.write(name, json.dumps({**content, **changes}))

    def safetensors(self, name: str, header: object, body: bytes = b"") -> None:
        raw = header if isinstance(header, bytes) else json.dumps(header).encode()
        self.write(name, struct.pack("<Q", len(raw)) + raw + body)

    def cut(self, name: str, keep: int) -> None:
        self.write(name, self.path(name).read_bytes()[:keep])

    def results(self) -> dict[str, bytes]:
        """Everything below results/ but the hidden work folders that a rerun goes on from."""
        root = self.path("results")
        files = (Path(place, name) for place, _, names in os.walk(root) for name in names)
        return {
            str(file.relative_to(root)): file.read_bytes()
            for file in files
            if ".work" not in file.parts
        }


# ---- hands that make a mistake ----


def study(**changes):
    return lambda place: place.study(**changes)


def data(**changes):
    return study(data={**STUDY["data"], **changes})


def study_text(text):
    return lambda place: place.write("config/studies/mine.yaml", text)


def model(text):
    return lambda place: place.write("config/models/mine.yaml", text)


def key(lines):
    """One more line in a model file that is right."""
    return model(MODEL + lines)


def train(content):
    return lambda place: place.write("data/train.csv", content)


def row(line):
    """One more line in a training file that is right."""
    return lambda place: place.write(
        "data/train.csv", place.path("data/train.csv").read_bytes() + _raw(line)
    )


def json_lines(content):
    def make(place):
        place.write("data/train.jsonl", content)
        place.study(data={**STUDY["data"], "train": "data/train.jsonl"})

    return make


def checkpoint(name):
    return model(MODEL.replace("checkpoint: checkpoint", f"checkpoint: {json.dumps(name)}"))


def file(name, content):
    return lambda place: place.write(f"checkpoint/{name}", content)


def _raw(text) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def resolved(schema: dict, root: dict) -> dict:
    """A part of a schema, or the one that it refers to: {"$ref": "#/properties/models"}."""
    if "$ref" not in schema:
        return schema
    for key in schema["$ref"].removeprefix("#/").split("/"):
        root = root[key]
    return root
