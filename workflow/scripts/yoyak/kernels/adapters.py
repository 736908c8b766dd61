"""Which adapters the fused layers compute: plain LoRA, W·x + s·B·A·x, and nothing beside it."""

import torch


def beyond_plain_lora(layer, projections: list) -> str | None:
    """Why a decoder layer trains or computes more than plain LoRA on its projections, or None."""
    adapted = [part for part in projections if hasattr(part, "lora_A")]
    fault = next((fault for fault in map(_not_plain, adapted) if fault), None)
    if fault:
        return fault
    factors = {id(factor) for part in adapted for factor in _factors(part)}
    if any(part.requires_grad and id(part) not in factors for part in layer.parameters()):
        return "a layer trains more than A and B of its projections' adapters"
    return None


def _not_plain(projection) -> str | None:
    """Why an adapter is not W·x + s·B·A·x, or None."""
    if len(projection.active_adapters) != 1:
        return "there is not exactly one active adapter"
    if type(projection).__name__ not in ("Linear", "Linear4bit"):
        return f"an adapter is a {type(projection).__name__}"
    if projection.merged or projection.disable_adapters:
        return "an adapter is merged or switched off"
    name = projection.active_adapters[0]
    if name in projection.lora_variant or projection.lora_bias[name]:
        return "adapters are not plain LoRA (DoRA, a bias of its own)"
    return None


def _factors(projection) -> list[torch.nn.Parameter]:
    """A and B of a projection's active adapters."""
    pairs = (projection.lora_A, projection.lora_B)
    return [pair[name].weight for pair in pairs for name in projection.active_adapters]
