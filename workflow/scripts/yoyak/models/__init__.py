"""Checkpoints, tokenizers, quantised and LoRA-wrapped models, and their attention."""
