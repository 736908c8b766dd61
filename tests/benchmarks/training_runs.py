"""What training.py measures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """A training on random weights.

    cap: memory in GB that it may use. graphs: packs in CUDA graphs, each size from its second time
    on: so many steps come before the `steps` that are timed.
    """

    model: str
    base_weights: str
    layers: str
    recompute: bool
    budget: int
    cap: float | None = None
    graphs: bool = False

    @property
    def warm(self) -> int:
        return 40 if self.graphs else 2

    @property
    def steps(self) -> int:
        return 160 if self.graphs else 4


RUNS = {
    "3b-free": Run("llama_3.2_3b", "dequantized", "fused", False, 32768),
    "3b-8gb": Run("llama_3.2_3b", "nf4", "fused", True, 12288, 8),
    "4b-free": Run("qwen3_4b", "dequantized", "fused", False, 32768),
    "4b-10gb": Run("qwen3_4b", "nf4", "fused", True, 8192, 10),
    "8b-free": Run("llama_3_8b", "dequantized", "fused", False, 16384),
    "8b-16gb": Run("llama_3_8b", "nf4", "fused", True, 8192, 16),
    "1b-free": Run("llama_3.2_1b", "dequantized", "fused", False, 32768),
    "135m-free": Run("smollm2_135m", "dequantized", "fused", False, 32768),
    "1b-graphs": Run("llama_3.2_1b", "dequantized", "fused", False, 32768, graphs=True),
    "135m-graphs": Run("smollm2_135m", "dequantized", "fused", False, 32768, graphs=True),
    "3b-compiled": Run("llama_3.2_3b", "dequantized", "compiled", False, 16384),
    "3b-own": Run("llama_3.2_3b", "dequantized", "own", False, 16384),
    "3b-nf4-own": Run("llama_3.2_3b", "nf4", "own", True, 4096),
    "8b-nf4-own": Run("llama_3_8b", "nf4", "own", True, 2048),
    "qwen2-0.5b": Run("qwen2.5_0.5b", "dequantized", "fused", False, 32768),
    "qwen2-0.5b-graphs": Run("qwen2.5_0.5b", "dequantized", "fused", False, 32768, graphs=True),
    "qwen2-0.5b-own": Run("qwen2.5_0.5b", "dequantized", "own", False, 32768),
    "qwen2-7b": Run("qwen2.5_7b", "dequantized", "fused", False, 16384),
    "qwen2-7b-nf4": Run("qwen2.5_7b", "nf4", "fused", True, 8192),
    "qwen2-7b-compiled": Run("qwen2.5_7b", "dequantized", "compiled", False, 16384),
    "qwen2-7b-nf4-compiled": Run("qwen2.5_7b", "nf4", "compiled", True, 16384),
    "qwen2-7b-nf4-own": Run("qwen2.5_7b", "nf4", "own", True, 16384),
    "mistral-7b": Run("mistral_7b", "dequantized", "fused", False, 16384),
    "mistral-7b-compiled": Run("mistral_7b", "dequantized", "compiled", False, 16384),
    "gemma3-4b": Run("gemma3_4b", "dequantized", "compiled", False, 16384),
    "gemma3-4b-own": Run("gemma3_4b", "dequantized", "own", False, 16384),
}
