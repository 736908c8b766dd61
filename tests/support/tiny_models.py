"""Tiny real models for tests: random weights of the true architectures, quantised to NF4."""

import copy
import functools
from functools import partial
from pathlib import Path

import torch
from tokenizers import Tokenizer, models
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from yoyak.config.loading import load_config, overridden
from yoyak.config.model_config import ModelConfig, ModelSettings
from yoyak.models.attention import PACKED
from yoyak.models.lora_loader import LoRALoader

VOCABULARY = 160
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
CONFIGS = {
    "llama": LlamaConfig,
    "qwen3": Qwen3Config,
    "qwen2": Qwen2Config,  # q, k and v have biases
    "mistral": partial(MistralConfig, sliding_window=16),
}
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def write_checkpoint(folder: Path, family: str, shard: str = "1GB", **sizes) -> Path:
    """A checkpoint folder of a tiny model with a word tokenizer; returns the folder.

    sizes: other values than those of SIZES; shard: the most that one weight file holds.
    """
    torch.manual_seed(11)
    model = AutoModelForCausalLM.from_config(CONFIGS[family](**{**SIZES, **sizes}))
    return save_checkpoint(model, folder, shard)


def write_other(folder: Path, kind: str, **settings) -> Path:
    """The same of any other architecture; settings: those of its config, by its own names."""
    torch.manual_seed(11)
    tokens = {"bos_token_id": None, "eos_token_id": VOCABULARY - 1, "pad_token_id": VOCABULARY - 2}
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, **tokens, **settings)
    return save_checkpoint(AutoModelForCausalLM.from_config(config), folder)


def save_checkpoint(model, folder: Path, shard: str = "1GB", embedding_spread: float = 6) -> Path:
    """Spread the weights of a fresh model and save it with the word tokenizer.

    embedding_spread: of the input embedding, as a multiple of its class's own. A large one makes a
    model whose head is tied to it repeat its last token for ever.
    """
    with torch.no_grad():  # the default spread of 0.02 makes every token alike
        embedding = model.get_input_embeddings().weight
        for parameter in model.parameters():
            if parameter.dim() < 2:
                parameter.add_(0.3 * torch.randn_like(parameter))
            elif parameter.abs().mean() < 0.04:
                parameter.mul_(embedding_spread if parameter is embedding else 6)
    model.save_pretrained(folder, max_shard_size=shard)
    words = {f"w{number}": number for number in range(VOCABULARY - 2)}
    words |= {"<pad>": VOCABULARY - 2, "</s>": VOCABULARY - 1}
    # Which the tokenizer classes of Qwen2 and GPT-2 would add, and the model grow by a row.
    words["<|endoftext|>"] = words.pop(f"w{VOCABULARY - 3}")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w0")),
        pad_token="<pad>",
        eos_token="</s>",
    )
    tokenizer.save_pretrained(folder)
    return folder


def tiny_config(folder: Path, dropout: float = 0.0, **values) -> ModelConfig:
    """An effective config that loads such a folder in fp32 with adapters on all projections.

    values: of the sections `model` and `lora`.
    """
    sections = {
        "model": {"checkpoint": str(folder), "dtype": "fp32"},
        "lora": {"r": 4, "alpha": 8, "dropout": dropout, "target_modules": PROJECTIONS},
    }
    for key, value in values.items():
        sections["model" if key in ModelSettings.model_fields else "lora"][key] = value
    return changed(load_config("llama_3.2_3b"), **sections)


def changed(config: ModelConfig, **sections: dict) -> ModelConfig:
    """The config with other values in some of its sections."""
    return overridden(config, sections, "a test")


def load_adapted(folder: Path, base_weights: str = "nf4", dropout: float = 0.0, attention=None):
    """A tiny model whose adapters, B too, are random: fresh ones give A no gradient at all.

    attention: another implementation than the packed one, for the padded reference.
    """
    model = copy.deepcopy(_load_once(folder, base_weights, dropout))
    model.get_base_model().set_attn_implementation(attention or PACKED)
    return model


@functools.cache
def _load_once(folder: Path, base_weights: str, dropout: float):
    loader = LoRALoader(tiny_config(folder, dropout), base_weights=base_weights)
    model, _ = loader.load_model_and_tokenizer(seed=5)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for _, parameter in sorted(adapters(model).items()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model


def adapters(model) -> dict[str, torch.nn.Parameter]:
    return {name: part for name, part in model.named_parameters() if part.requires_grad}


def examples(lengths=(23, 7, 61, 12, 38, 5), answer=0.4, seed=3) -> list[dict]:
    """Random examples; the last `answer` share of each is supervised, the rest masked."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for length in lengths:
        ids = torch.randint(0, VOCABULARY - 2, (length,), generator=generator)
        ids[-1] = VOCABULARY - 1
        labels = ids.clone()
        labels[: length - max(1, int(length * answer))] = -100
        rows.append({"input_ids": ids, "labels": labels})
    return rows


def padded_batch(rows: list[dict]) -> dict:
    """One right-padded batch as transformers takes it."""
    longest = max(len(row["input_ids"]) for row in rows)
    size = (len(rows), longest)
    ids = torch.full(size, VOCABULARY - 2)
    labels, mask = torch.full(size, -100), torch.zeros(size, dtype=torch.long)
    for number, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[number, :length] = row["input_ids"]
        labels[number, :length] = row["labels"]
        mask[number, :length] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def logits(model, ids: torch.Tensor) -> torch.Tensor:
    """By the model's own forward; ids of shape (rows, tokens)."""
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    model.set_attn_implementation("sdpa")
    with torch.no_grad():
        return model.eval()(ids).logits


def distance(found, expected) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


def train_a_little(model, ids) -> None:
    """A few real steps, so that every trainable part has moved away from its start."""
    model.get_base_model().set_attn_implementation("sdpa")
    parts = [part for part in model.parameters() if part.requires_grad]
    optimizer = torch.optim.AdamW(parts, lr=1e-2, weight_decay=0.0)
    for _ in range(3):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
