"""Generation, ROUGE, statistics and diagnostics."""
