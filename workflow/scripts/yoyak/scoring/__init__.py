"""Scores of summaries: ROUGE, floors, statistics, diagnostics; no torch."""
