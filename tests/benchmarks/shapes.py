"""What the benchmarks of training are made of: the true shapes, and rows as long as real ones."""

import math

import numpy as np
import torch
from transformers import Gemma3TextConfig, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

PLAIN_ROPE = {"rope_theta": 1_000_000.0, "rope_type": "default"}
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
    "llama_3.2_1b": LlamaConfig(
        vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
        num_attention_heads=32, num_key_value_heads=8, head_dim=64, tie_word_embeddings=True,
        max_position_embeddings=131072, rms_norm_eps=1e-5, rope_parameters=PLAIN_ROPE,
    ),
    "smollm2_135m": LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
        num_attention_heads=9, num_key_value_heads=3, tie_word_embeddings=True,
        max_position_embeddings=8192, rms_norm_eps=1e-5, rope_parameters=PLAIN_ROPE,
    ),
    "qwen2.5_0.5b": Qwen2Config(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24,
        num_attention_heads=14, num_key_value_heads=2, tie_word_embeddings=True,
        max_position_embeddings=32768, rope_parameters=PLAIN_ROPE,
    ),
    "qwen2.5_7b": Qwen2Config(
        vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=28,
        num_attention_heads=28, num_key_value_heads=4, tie_word_embeddings=False,
        max_position_embeddings=32768, rope_parameters=PLAIN_ROPE,
    ),
    "mistral_7b": MistralConfig(
        vocab_size=32768, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=8, head_dim=128, sliding_window=None,
        tie_word_embeddings=False, max_position_embeddings=32768, rope_parameters=PLAIN_ROPE,
    ),
    "gemma3_4b": Gemma3TextConfig(
        vocab_size=262208, hidden_size=2560, intermediate_size=10240, num_hidden_layers=34,
        num_attention_heads=8, num_key_value_heads=4, head_dim=256, sliding_window=1024,
        tie_word_embeddings=True, max_position_embeddings=131072,
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
