"""What the benchmarks of training are made of: the true shapes, and rows as long as real ones."""

import math

import numpy as np
import torch
from transformers import LlamaConfig, Qwen3Config

ROPE = {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
SHAPES = {
    "llama_3.2_3b": LlamaConfig(
        vocab_size=128256, hidden_size=3072, intermediate_size=8192, num_hidden_layers=28,
        num_attention_heads=24, num_key_value_heads=8, head_dim=128, tie_word_embeddings=True,
        max_position_embeddings=131072, rms_norm_eps=1e-5,
        rope_parameters={
            "rope_theta": 500000.0, "original_max_position_embeddings": 8192, **ROPE
        },
    ),
    "llama_3_8b": LlamaConfig(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=8, head_dim=128, tie_word_embeddings=False,
        max_position_embeddings=8192, rms_norm_eps=1e-5,
        rope_parameters={"rope_theta": 500000.0, "rope_type": "default"},
    ),
    "qwen3_4b": Qwen3Config(
        vocab_size=151936, hidden_size=2560, intermediate_size=9728, num_hidden_layers=36,
        num_attention_heads=32, num_key_value_heads=8, head_dim=128, tie_word_embeddings=True,
        max_position_embeddings=262144, rms_norm_eps=1e-6,
        rope_parameters={"rope_theta": 5000000.0, "rope_type": "default"},
    ),
}  # fmt: skip


def rows(count: int, vocabulary: int, seed: int = 0) -> list[dict]:
    """Examples with the lengths of the real data: mean about 330 tokens, up to 1,224."""
    generator = np.random.default_rng(seed)
    made = []
    for number in range(count):
        length = int(np.clip(generator.lognormal(math.log(285), 0.53), 60, 1224))
        length = 1224 if number % 64 == 5 else length
        answer = int(np.clip(generator.normal(60, 20), 10, 200))
        ids = torch.from_numpy(generator.integers(10, vocabulary - 10, length))
        labels = ids.clone()
        labels[: length - min(answer, length - 10)] = -100
        made.append({"input_ids": ids, "labels": labels})
    return made
