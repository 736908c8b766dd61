"""How to use a trained model, for its card: its own prompt, decoding and servers."""

from yoyak.config.model_config import ModelConfig
from yoyak.data.dialogues import SPEAKER_TAG
from yoyak.reporting.texts import Texts

SERVING = """```sh
python workflow/scripts/merge_adapter.py --adapter final_model --output-dir merged
vllm serve merged --override-generation-config '{"temperature": 0}'
ollama create summariser -f merged/Modelfile && ollama run summariser "$(cat dialogue.txt)"
```"""


def usage(texts: Texts, config: ModelConfig, statistics: dict, decoding: dict) -> str:
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
    arguments, unlike = _arguments(texts, decoding)
    code = "\n".join(
        [
            *imports,
            "",
            f'folder = "final_model"  # {texts("card.published")}',
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
    named = texts("card.speaker", speaker=speaker.group(1)) if speaker else ""
    shape = " ".join([texts("card.shape", speaker=named), *unlike])
    parts = [f"## {texts('card.use')}", shape, f"```python\n{code}\n```"]
    return "\n\n".join([*parts, *([texts("card.serving"), SERVING] if adapter else [])])


def _arguments(texts: Texts, decoding: dict) -> tuple[str, list[str]]:
    """What `generate` takes of a run's decoding, and sentences on what it cannot do likewise."""
    here = {key: decoding[key] for key in ("max_new_tokens", "do_sample")}
    here |= {"num_beams": decoding["num_beams"]} if decoding["num_beams"] > 1 else {}
    here |= {
        key: decoding[key] for key in ("length_penalty", "temperature", "top_p") if key in decoding
    }
    here |= {"top_k": 0} if decoding["do_sample"] else {}
    here["repetition_penalty"] = 1.0  # a checkpoint's own would count
    penalties = ("repetition_penalty", "no_repeat_ngram_size")
    left = ", ".join(f"`{key}` {decoding[key]}" for key in penalties if key in decoding)
    unlike = [texts("card.unlike", penalties=left)] if left else []
    unlike += [texts("card.draws")] if decoding["do_sample"] else []
    return ", ".join(f"{key}={value!r}" for key, value in here.items()), unlike
