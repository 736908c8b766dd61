"""What training.py measures."""

# name: model, base weights, layers, recompute, token budget, memory cap in GB
RUNS = {
    "3b-free": ("llama_3.2_3b", "dequantized", "fused", False, 32768, None),
    "3b-8gb": ("llama_3.2_3b", "nf4", "fused", True, 12288, 8),
    "4b-free": ("qwen3_4b", "dequantized", "fused", False, 32768, None),
    "4b-10gb": ("qwen3_4b", "nf4", "fused", True, 8192, 10),
    "8b-free": ("llama_3_8b", "dequantized", "fused", False, 16384, None),
    "8b-16gb": ("llama_3_8b", "nf4", "fused", True, 8192, 16),
    "1b-free": ("llama_3.2_1b", "dequantized", "fused", False, 32768, None),
    "135m-free": ("smollm2_135m", "dequantized", "fused", False, 32768, None),
    "3b-compiled": ("llama_3.2_3b", "dequantized", "compiled", False, 16384, None),
    "3b-own": ("llama_3.2_3b", "dequantized", "own", False, 16384, None),
    "3b-nf4-own": ("llama_3.2_3b", "nf4", "own", True, 4096, None),
    "8b-nf4-own": ("llama_3_8b", "nf4", "own", True, 2048, None),
    "qwen2-0.5b": ("qwen2.5_0.5b", "dequantized", "fused", False, 32768, None),
    "qwen2-0.5b-own": ("qwen2.5_0.5b", "dequantized", "own", False, 32768, None),
    "qwen2-7b": ("qwen2.5_7b", "dequantized", "fused", False, 16384, None),
    "qwen2-7b-nf4": ("qwen2.5_7b", "nf4", "fused", True, 8192, None),
    "qwen2-7b-compiled": ("qwen2.5_7b", "dequantized", "compiled", False, 16384, None),
    "qwen2-7b-nf4-compiled": ("qwen2.5_7b", "nf4", "compiled", True, 16384, None),
    "qwen2-7b-nf4-own": ("qwen2.5_7b", "nf4", "own", True, 16384, None),
    "mistral-7b": ("mistral_7b", "dequantized", "fused", False, 16384, None),
    "mistral-7b-compiled": ("mistral_7b", "dequantized", "compiled", False, 16384, None),
    "gemma3-4b": ("gemma3_4b", "dequantized", "compiled", False, 16384, None),
    "gemma3-4b-own": ("gemma3_4b", "dequantized", "own", False, 16384, None),
}
