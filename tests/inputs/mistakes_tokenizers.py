"""Mistakes that transformers is needed to find: tokenizers, chat templates, adapters."""

import json
import shutil

from mistakes_weights import config, without
from places import BUILD, GENERATE, Mistake, checkpoint, file, key, study


def heavy(make, *words, cure, command=BUILD):
    return Mistake(make, command, words, cure, "heavy")


def stranger_code(place):
    place.write("checkpoint/code.py", "open('CANARY', 'w')\nclass A: pass\n")
    classes = {"AutoConfig": "code.A", "AutoModelForCausalLM": "code.A"}
    config(model_type="stranger", auto_map=classes)(place)


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
    "code of a stranger": heavy(
        stranger_code, "model.checkpoint", "which is refused", cure="choose a checkpoint",
        command=GENERATE,
    ),
    "Hub without a network": heavy(
        checkpoint("nobody/nothing"), "'nobody/nothing'", "cannot be reached",
        cure="connect once to download it",
    ),
    "adapter that is not there": Mistake(
        study(), ADAPTED, ("adapter: no such folder",), "train this model first"
    ),
    "adapter of pickles": heavy(
        adapter(lambda place: place.path("adapter/adapter_model.safetensors").rename(
            place.path("adapter/adapter_model.bin"))),
        *("adapter", "pickled weights"),
        cure="train it again or convert it", command=ADAPTED,
    ),
    "adapter cut short": heavy(
        adapter(lambda place: place.write("adapter/adapter_model.safetensors", b"\x08")),
        *("adapter", "damaged"),
        cure="train it again", command=ADAPTED,
    ),
    "adapter of nothing": heavy(
        adapter(lambda place: place.path("adapter/adapter_config.json").unlink()),
        *("adapter", "neither an adapter nor a model"),
        cure="name a final_model/", command=ADAPTED,
    ),
    "adapter without tokenizer": heavy(
        adapter(lambda place: place.write("adapter/tokenizer.json", "{")),
        *("adapter",),
        cure="its tokenizer cannot be read", command=ADAPTED,
    ),
}  # fmt: skip
