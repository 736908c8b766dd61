"""Shapes of models that tests of the planner plan for."""

from yoyak.run.memory import ModelShape

LLAMA_3B = ModelShape(28, 3072, 8192, 24, 8, 128, 128256, True, fusable=True)
LLAMA_8B = ModelShape(32, 4096, 14336, 32, 8, 128, 128256, False, fusable=True)
QWEN_4B = ModelShape(36, 2560, 9728, 32, 8, 128, 151936, True, fusable=True, head_norms=True)
TINY = ModelShape(4, 128, 256, 4, 2, 32, 3000, True)
QWEN_7B = ModelShape(28, 3584, 18944, 28, 4, 128, 152064, False, fusable=True)
QWEN_HALF_B = ModelShape(24, 896, 4864, 14, 2, 64, 151936, True, fusable=True)
MISTRAL_7B = ModelShape(32, 4096, 14336, 32, 8, 128, 32768, False, fusable=True)
SMOLLM_135M = ModelShape(30, 576, 1536, 9, 3, 64, 49152, True, fusable=True)
GEMMA_4B = ModelShape(34, 2560, 10240, 8, 4, 256, 262208, True, more_norms=2)
