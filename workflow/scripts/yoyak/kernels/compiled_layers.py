"""A model's own decoder layers, compiled by torch: for every architecture that is not fused.

Layers of one kind share one compiled form, in which the numbers of tokens and of sequences are
symbols: a pack of another length compiles nothing anew.
"""

import torch
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer


class CompiledLayer:
    """Stands in for a decoder layer's forward."""

    def __init__(self, layer: GradientCheckpointingLayer, recompute: bool):
        self.layer, self.recompute = layer, recompute
        self.run = torch.compile(layer.forward, dynamic=True, fullgraph=True)

    def __call__(self, *args, **kwargs):
        kwargs["boundaries"] = None  # Python numbers would be constants; the tensor has them, too
        if self.recompute and self.layer.training and torch.is_grad_enabled():
            return checkpoint(self.run, *args, use_reentrant=False, **kwargs)
        return self.run(*args, **kwargs)


def compile_decoder_layers(model, recompute: bool) -> int:
    """Run the decoder layers of a transformers model compiled; returns their number.

    Nothing is compiled before the first forward pass. A layer that torch cannot compile as a whole
    raises then.

    Args:
        recompute: keep only every layer's inputs for the backward pass and compute the rest again.
    """
    torch._dynamo.reset()  # the forms of models that this process ran before count towards a limit
    layers = [part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]
    for layer in layers:
        layer.forward = CompiledLayer(layer, recompute)
    return len(layers)
