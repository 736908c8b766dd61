"""Yoyak's library: settings, data, models, training, evaluation and reporting.

Four floors, and an import only ever goes down: scripts → reporting | training, evaluation →
data, models, run → settings. The library knows nothing of Snakemake.
"""
