"""Transformers' own forward, one row at a time: the reference for every faster path."""

import contextlib
from collections.abc import Iterator

import torch

EAGER = "eager"
OWN_ATTENTION = "its class has an attention of its own, which cannot be exchanged"
# Tolerances: how far a correct engine may be off in a row's mean loss (relative, or of 1) and its
# logits (`spread`). Five times the largest difference of fifty starts without a fault, but for
# losses in float32; measured by tests/benchmarks/engine_check.py, see docs/architectures.md.
LOSS_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 4e-2, torch.float16: 5e-3}
LOGITS_TOLERANCE = {torch.float32: 7.5e-5, torch.bfloat16: 3.1e-1, torch.float16: 5e-2}
WINDOWS = ("sliding_window", "attention_chunk_size")


def causal_lm(model):
    """The transformers model inside a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@contextlib.contextmanager
def attention_of(model, name: str) -> Iterator[None]:
    """Run the block with another attention implementation, then restore the model's own.

    Raises ValueError where the class takes none but its own and eager.
    """
    before = causal_lm(model).config._attn_implementation
    if name not in (EAGER, before) and not takes_attention(model):
        raise ValueError(OWN_ATTENTION)
    set_attention(model, name)
    try:
        yield
    finally:
        set_attention(model, before)


def takes_attention(model) -> bool:
    """Whether its class gets attention through transformers' interface: Falcon and older do not."""
    return causal_lm(model)._can_set_attn_implementation()


def set_attention(model, name: str) -> None:
    """Set the attention implementation; some classes only know their own ones."""
    if takes_attention(model):
        causal_lm(model).set_attn_implementation(name)
    else:  # it reads the name at every forward
        causal_lm(model).config._attn_implementation = name


@contextlib.contextmanager
def evaluation_mode(model) -> Iterator[None]:
    """Run the block in evaluation mode, then restore training mode and random state."""
    modes = {module: module.training for module in model.modules()}
    device = next(model.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        model.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training


def reset_dynamic_rope(model) -> None:
    """Reset dynamic RoPE, which keeps the frequencies of the longest row so far."""
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
        reset_dynamic_rope(model)
        output = causal_lm(model)(
            input_ids=input_ids[None], use_cache=False, logits_to_keep=positions
        )
    return kept_logits(output.logits, positions)[0].float()


def kept_logits(logits: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """(rows, n, vocabulary): a class that knows no `logits_to_keep` returns those of all places."""
    if logits.shape[1] == len(positions):
        return logits
    return logits.index_select(1, positions)


def has_experts(model) -> bool:
    """Whether it is a mixture of experts: its shapes, and rounding, depend on the routing."""
    names = [name for name, _ in model.named_parameters()]
    return any("expert" in name or "moe" in name for name in names)


def unreached_windows(model, longest: int) -> list[str]:
    """Sliding windows longer than every row, in words: no row can show their effect."""
    config = causal_lm(model).config.get_text_config()
    sizes = {name: getattr(config, name, None) for name in WINDOWS}
    return [
        f"{name} {size:,}: no row is longer ({longest:,} tokens at most), it cannot matter"
        for name, size in sizes.items()
        if isinstance(size, int) and size >= longest
    ]


def spread(logits: torch.Tensor, expected: torch.Tensor) -> float:
    """Root mean square of a difference of logits, as a share of the expected ones' own spread.

    Over many positions and a whole vocabulary this hardly varies from start to start, where the
    largest difference would.
    """
    centred = expected - expected.mean(-1, keepdim=True)
    share = (logits.float() - expected).square().mean().sqrt() / centred.square().mean().sqrt()
    return float(share)
