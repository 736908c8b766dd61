"""Save and load what a training produces: an adapter or a full model, with its tokenizer."""

import json
import os
from pathlib import Path

from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from yoyak.errors import UserError, one_line
from yoyak.models.adapters import beside_untouched_weights
from yoyak.models.embedding_rows import keep_head_bias

LOADED_HOW = ("is_local", "local_files_only")


def adapted_modules(model) -> list[str] | None:
    """The projections that have adapters, by PEFT's names; None without adapters."""
    if not hasattr(model, "peft_config"):
        return None
    return sorted(model.peft_config["default"].target_modules)


def save_trained(model, tokenizer, folder: Path, *, resumable: bool = False) -> None:
    """Save adapter (or whole model) and tokenizer, byte-stable across runs.

    An adapter that started with a part of the base weights (PiSSA) is saved as plain LoRA beside
    the checkpoint's untouched ones; resumable: as it is trained, for the same start.
    PEFT keeps `target_modules` in a set, whose order changes from process to process; the tokenizer
    notes how it was loaded; safetensors writes files that only their owner may read.
    """
    # The rows of added tokens are the adapter's own (trainable_token_indices): no whole embedding.
    rows_only = {"save_embedding_layers": False} if hasattr(model, "peft_config") else {}
    model.save_pretrained(folder, **rows_only)
    tokenizer.save_pretrained(folder)
    initial = {} if resumable else getattr(model, "initial_adapter", {})
    for file in Path(folder).glob("adapter_config.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        if initial:
            weights, written = Path(folder) / "adapter_model.safetensors", Path(folder) / "written"
            state, content = beside_untouched_weights(load_file(weights), initial, content)
            save_file(state, written, metadata={"format": "pt"})
            os.replace(written, weights)
        for key, value in content.items():
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                content[key] = sorted(value)
        file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for file in Path(folder).glob("tokenizer_config.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        kept = {key: value for key, value in content.items() if key not in LOADED_HOW}
        text = json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False)
        file.write_text(text + "\n", encoding="utf-8")
    for file in Path(folder).glob("*.safetensors"):
        file.chmod(0o644)
    (Path(folder) / "README.md").unlink(missing_ok=True)  # PEFT's empty card; ours comes later


def saved_tokenizer(adapter: Path):
    """The tokenizer that was saved beside an adapter; UserError when it cannot be read."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(adapter, trust_remote_code=False)
    except Exception as error:
        raise UserError(
            f"{adapter}: its tokenizer cannot be read ({one_line(error)[:200]})"
        ) from error
    return tokenizer


def with_adapter(model, adapter: Path):
    """The model with a saved adapter beside it; UserError for pickled, damaged, foreign weights."""
    from peft import PeftModel

    if not (adapter / "adapter_model.safetensors").is_file():
        raise UserError(
            f"{adapter}: has no adapter_model.safetensors (pickled weights can run code when read "
            "and are refused); train it again or convert it"
        )
    try:
        adapted = PeftModel.from_pretrained(model, adapter)
    except Exception as error:
        raise UserError(
            f"{adapter}: the adapter is damaged or belongs to another model "
            f"({one_line(error)[:200]}); train it again"
        ) from error
    keep_head_bias(adapted)
    return adapted
