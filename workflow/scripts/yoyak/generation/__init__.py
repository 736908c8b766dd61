"""Summaries: the fast engine where it equals the model, and transformers' generate for all else."""
