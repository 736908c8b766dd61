"""Transformers' own forward, one row at a time: what every faster path is checked against."""

import contextlib
from collections.abc import Iterator

import torch

EAGER = "eager"


def causal_lm(model):
    """The transformers model inside a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@contextlib.contextmanager
def attention_of(model, name: str) -> Iterator[None]:
    """Run the block with another attention implementation; the model's own one comes back.

    A class that predates transformers' attention interface keeps its own with a mere warning.
    """
    base = causal_lm(model)
    before = base.config._attn_implementation
    base.set_attn_implementation(name)
    try:
        yield
    finally:
        base.set_attn_implementation(before)


@contextlib.contextmanager
def undisturbed(model) -> Iterator[None]:
    """Run the block in evaluation mode; training mode and random state are then as they were."""
    modes = {module: module.training for module in model.modules()}
    device = next(model.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        model.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training


def forget_longer_rows(model) -> None:
    """Dynamic RoPE keeps the frequencies of the longest row that it has seen, until a short one."""
    kinds = {str(getattr(part, "rope_type", "")) for part in model.modules()}
    if any("dynamic" in kind for kind in kinds):
        device = model.get_input_embeddings().weight.device
        model(input_ids=torch.zeros(1, 1, dtype=torch.int64, device=device), use_cache=False)


@torch.no_grad()
def reference_logits(model, input_ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Logits after some of a row's tokens: eager attention, no packing, no padding, no cache.

    Args:
        input_ids: (tokens,) int64. positions: (n,) int64, the places in it.

    Returns:
        (n, vocabulary) float32. The head with all that the model does to its logits is its own.
    """
    with attention_of(model, EAGER):
        forget_longer_rows(model)
        output = causal_lm(model)(
            input_ids=input_ids[None], use_cache=False, logits_to_keep=positions
        )
    return output.logits[0].float()


def spread(logits: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean square of a difference of logits, as a share of the expected ones' own spread.

    Over many positions and a whole vocabulary this hardly varies from start to start, where the
    largest difference would.
    """
    centred = expected - expected.mean(-1, keepdim=True)
    share = (logits.float() - expected).square().mean().sqrt() / centred.square().mean().sqrt()
    return float(share)
