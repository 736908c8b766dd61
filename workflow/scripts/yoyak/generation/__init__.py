"""Summaries: the fast engine where it equals the model, else transformers' `generate`."""
