"""What a model carries from one forward pass to the next, put back after use."""

from contextlib import contextmanager

import torch


@contextmanager
def attention(model, implementation: str):
    """The model with another attention function of transformers' interface, for a while."""
    own = model.config._attn_implementation
    model.set_attn_implementation(implementation)
    try:
        yield
    finally:
        model.set_attn_implementation(own)


@contextmanager
def undisturbed(model):
    """Evaluation mode without gradients; modes and random state are put back."""
    training = [part for part in model.modules() if part.training]
    weights = model.get_input_embeddings().weight
    with torch.random.fork_rng([weights.device] if weights.is_cuda else []), torch.no_grad():
        model.eval()
        try:
            yield
            forget_longer_rows(model)
        finally:
            for part in training:
                part.training = True


def forget_longer_rows(model) -> None:
    """Dynamic RoPE keeps the frequencies of the longest row that it has seen, until a short one."""
    kinds = {str(getattr(part, "rope_type", "")) for part in model.modules()}
    if any("dynamic" in kind for kind in kinds):
        device = model.get_input_embeddings().weight.device
        model(input_ids=torch.zeros(1, 1, dtype=torch.int64, device=device), use_cache=False)
