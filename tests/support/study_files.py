"""A plain study file."""

PLAIN = """
    description: one
    language: ko
    data: {train: a.csv, dev: b.csv}
    models: [tiny_llama, tiny_qwen3]
    formats: [instruction, chat]
    augmentations: [none, templates]
    seeds: [42, 7]
    overrides: {training: {max_steps: 12}}
    metric: {primary: morphemes, tokenizers: [morphemes, words]}
"""
