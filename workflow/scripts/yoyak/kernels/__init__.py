"""Fused decoder layers for LoRA training; `decoder_layers` is the entry point."""
