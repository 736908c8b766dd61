"""How to use a trained model, for its card: its own prompt, decoding and servers."""

from yoyak.config.model_config import ModelConfig
from yoyak.data.dialogues import SPEAKER_TAG

SERVING = """

Served, once Yoyak's `merge_adapter.py` has written weights, chat template and Modelfile:

```sh
python workflow/scripts/merge_adapter.py --adapter final_model --output-dir merged
vllm serve merged --override-generation-config '{"temperature": 0}'
ollama create summariser -f merged/Modelfile && ollama run summariser "$(cat dialogue.txt)"
```"""


def usage(config: ModelConfig, statistics: dict, decoding: dict) -> str:
    """The card's section on use.

    statistics: of the examples, with the prompt. decoding: of the predictions that were scored.
    """
    frame, stops = statistics["frames"][0], [int(stop) for stop in statistics["stop_tokens"]]
    adapter = config.lora.use_lora
    model_class = "AutoPeftModelForCausalLM" if adapter else "AutoModelForCausalLM"
    head, tail = repr(frame["prefix"] + frame["head"]), repr(frame["tail"])
    imports = [f"from peft import {model_class}", "from transformers import AutoTokenizer"]
    if not adapter:
        imports = ["from transformers import AutoModelForCausalLM, AutoTokenizer"]
    arguments, unlike = _arguments(decoding)
    code = "\n".join(
        [
            *imports,
            "",
            'folder = "final_model"  # or the name of the published repository',
            "tokenizer = AutoTokenizer.from_pretrained(folder)",
            f"model = {model_class}.from_pretrained(folder)",
            f"prompt = {head} + dialogue + {tail}",
            'inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)',
            f"stops = {stops}",
            f"output = model.generate(**inputs, eos_token_id=stops, {arguments})",
            'tokens = output[0, inputs["input_ids"].shape[1] :].tolist()',
            "print(tokenizer.decode([token for token in tokens if token not in stops]))",
        ]
    )
    example = (statistics.get("example") or {}).get("prompt", "")
    speaker = SPEAKER_TAG.search(example)
    named = f", speakers as `{speaker.group(1)}:`" if speaker else ""
    shape = f"The dialogue's turns stand on lines of their own{named}.{unlike}"
    return f"## Use\n\n{shape}\n\n```python\n{code}\n```{SERVING if adapter else ''}"


def _arguments(decoding: dict) -> tuple[str, str]:
    """What `generate` takes of a run's decoding, and a sentence of what it cannot do likewise."""
    here = {key: decoding[key] for key in ("max_new_tokens", "do_sample")}
    here |= {"num_beams": decoding["num_beams"]} if decoding["num_beams"] > 1 else {}
    here |= {
        key: decoding[key] for key in ("length_penalty", "temperature", "top_p") if key in decoding
    }
    here |= {"top_k": 0} if decoding["do_sample"] else {}
    here["repetition_penalty"] = 1.0  # a checkpoint's own would count
    penalties = ("repetition_penalty", "no_repeat_ngram_size")
    left = [f"`{key}` {decoding[key]}" for key in penalties if key in decoding]
    unlike = (
        f" The scores below had {' and '.join(left)}, too, over the summary alone; `generate` "
        "counts the prompt's tokens with them, so they are left out here."
        if left
        else ""
    )
    unlike += " The scores' draws had seeds of their own." if decoding["do_sample"] else ""
    return ", ".join(f"{key}={value!r}" for key, value in here.items()), unlike
