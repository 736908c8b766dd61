"""The training engine: padding-free global batches on a Hugging Face Trainer."""
