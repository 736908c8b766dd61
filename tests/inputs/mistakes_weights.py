"""Mistakes in checkpoints: folders, safetensors, GGUF files, pickles."""

import json
import pickle
import shutil

from places import GENERATE, Mistake, checkpoint, file


def weights(make, *words, cure, command=GENERATE, weight="light"):
    return Mistake(make, command, ("model.checkpoint", *words), cure, weight)


def only(suffix, content=b"x"):
    """The weights under another ending."""

    def make(place):
        place.path("checkpoint/model.safetensors").unlink()
        place.write(f"checkpoint/{suffix}", content)

    return make


def shards(*names, weight_map=None):
    """Two shards by an index, of which only `names` are there."""

    def make(place):
        whole = place.path("checkpoint/model.safetensors")
        for name in names:
            shutil.copy(whole, place.path(f"checkpoint/{name}"))
        whole.unlink()
        expected = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
        content = {"weight_map": weight_map or expected}
        place.write("checkpoint/model.safetensors.index.json", json.dumps(content))

    return make


def index_of_pickles(place):
    shards("model-1.safetensors", weight_map={"a": "pytorch_model.bin"})(place)
    place.write("checkpoint/pytorch_model.bin", pickle.dumps({"a": print}))


def gguf(raw):
    def make(place):
        place.write("checkpoint/small.gguf", raw)
        checkpoint("checkpoint/small.gguf")(place)

    return make


def config(**changes):
    return lambda place: place.edit_json("checkpoint/config.json", **changes)


def without(name):
    return lambda place: place.path(f"checkpoint/{name}").unlink()


CHECKPOINTS = {
    "no such folder": weights(checkpoint("no/such/folder"), "no/such/folder", cure="owner/name"),
    "path out of a package": weights(
        checkpoint("package:json/../../etc"), "package 'json'", cure="has no file"
    ),
    "file for a folder": weights(checkpoint("data/dev.csv"), "is a file", cure="name its folder"),
    "quantised already": weights(
        config(quantization_config={"quant_method": "gptq"}), "gptq", cure="16-bit checkpoint"
    ),
    "adapter for a model": weights(
        lambda place: (without("config.json")(place), file("adapter_config.json", "{}")(place)),
        *("no config.json", "holds an adapter"),
        cure="name the base model",
    ),
    "pickled weights only": weights(
        only("pytorch_model.bin", pickle.dumps({"a": print})), "pickled ones can run code",
        cure="convert them first",
    ),
    "pickle under another name": weights(
        file("model.safetensors", pickle.dumps({"a": print})),
        "model.safetensors is damaged or is not safetensors",
        cure="download it again",
    ),
    "pickles behind an index": weights(
        index_of_pickles, "pytorch_model.bin is missing", cure="download it again"
    ),
    "index out of the folder": weights(
        shards("model-1.safetensors", weight_map={"a": "../../etc/x.safetensors"}),
        *("model.safetensors.index.json",),
        cure="download it again",
    ),
    "weights cut short": weights(
        lambda place: place.cut("checkpoint/model.safetensors", 5000),
        *("model.safetensors is damaged",),
        cure="download it again",
    ),
    "header that is no JSON": weights(
        lambda place: place.safetensors("checkpoint/model.safetensors", b"{]"), "is damaged",
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
