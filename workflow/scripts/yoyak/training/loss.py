"""The loss of a micro-batch, summed over supervised tokens; only these positions reach the head.

A micro-batch is a pack (no padding, one row of tokens) or, on the plain path, a padded batch. Under
a frozen linear head a pack's logits are computed a chunk at a time ("chunked"). If a model modifies
its logits (a scale, a softcap), its own forward computes them all at once ("model").
"""

import contextlib

import torch
import torch.utils.checkpoint
from torch.nn.functional import cross_entropy

from yoyak.data.packing import IGNORED, Pack
from yoyak.data.padding import PaddedBatch
from yoyak.kernels.decoder_layers import ends_fused
from yoyak.models.reference import causal_lm, kept_logits, reset_dynamic_rope
from yoyak.run.plan import Plan

HEAD_CHUNK = 1024  # positions whose logits are alive at once: 1024 × 128,256 × 4 bytes = 0.5 GB


def number_format(plan: Plan):
    """The autocast to compute a loss in: adapters are float32, their products have 16 bits.

    transformers' Trainer leaves that to accelerate, which wraps the outermost forward alone.
    """
    cuda, half = plan.device.startswith("cuda"), plan.compute_dtype != "float32"
    if not (cuda and half):
        return contextlib.nullcontext()
    return torch.autocast("cuda", dtype=getattr(torch, plan.compute_dtype))


def batch_loss(model, batch: Pack | PaddedBatch, head: str = "chunked") -> torch.Tensor:
    """Sum over supervised tokens of −log p(token | what came before it), a float32 scalar.

    The caller (PackedTrainer.training_step) divides by the supervised tokens of the whole global
    batch, so however the batch is split into micro-batches, the result is the mean over the batch
    (transformers issue 34191 shows what goes wrong otherwise).
    """
    if isinstance(batch, Pack) and head == "chunked":
        return _chunked_loss(model, batch)
    logits = model_logits(model, batch).float()
    targets = batch.targets.flatten()
    return cross_entropy(logits.flatten(0, -2), targets, reduction="sum", ignore_index=IGNORED)


def batch_logits(model, batch: Pack | PaddedBatch, head: str = "chunked") -> torch.Tensor:
    """The logits that `batch_loss` computes its loss from; shapes as of `model_logits`."""
    if isinstance(batch, Pack) and head == "chunked":
        hidden = supervised_states(model, batch)
        return causal_lm(model).get_output_embeddings()(hidden)
    return model_logits(model, batch)


def model_logits(model, batch: Pack | PaddedBatch) -> torch.Tensor:
    """Logits at the supervised positions by the model's own head, scale and softcap.

    Returns:
        (n, vocabulary) of a pack, (rows, n, vocabulary) of a padded batch: see their `targets`.
    """
    if isinstance(batch, PaddedBatch):
        if len(batch.input_ids) == 1:
            with torch.no_grad():
                reset_dynamic_rope(causal_lm(model))
        output = causal_lm(model)(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            use_cache=False,
            logits_to_keep=batch.columns,
        )
        return kept_logits(output.logits, batch.columns)
    output = causal_lm(model)(**_packed(batch), logits_to_keep=batch.supervised)
    return kept_logits(output.logits, batch.supervised)[0]


def hidden_states(model, pack: Pack) -> torch.Tensor:
    """Last hidden states (1, tokens, hidden) of a pack; no example sees another."""
    return causal_lm(model).base_model(**_packed(pack)).last_hidden_state


def supervised_states(model, pack: Pack) -> torch.Tensor:
    """Last hidden states (n, hidden) at supervised positions: no others where layers are fused."""
    if ends_fused(model):
        packed = _packed(pack) | {"wanted": pack.supervised}
        return causal_lm(model).base_model(**packed).last_hidden_state[0]
    return hidden_states(model, pack)[0].index_select(0, pack.supervised)


def _packed(pack: Pack) -> dict:
    return {
        "input_ids": pack.input_ids,
        "position_ids": pack.position_ids,
        "cu_seq_lens_q": pack.cu_seq_lens,
        "max_length_q": pack.max_length,
        "boundaries": None if pack.input_ids.is_cuda else pack.boundaries,
        "use_cache": False,
    }


def _chunked_loss(model, pack: Pack) -> torch.Tensor:
    hidden = supervised_states(model, pack)
    head = causal_lm(model).get_output_embeddings()
    if type(head) is torch.nn.Linear and not head.weight.requires_grad and head.bias is None:
        return _FrozenHeadLoss.apply(hidden, head.weight, pack.targets)
    total = hidden.new_zeros((), dtype=torch.float32)
    for part, targets in zip(hidden.split(HEAD_CHUNK), pack.targets.split(HEAD_CHUNK), strict=True):
        if torch.is_grad_enabled() and len(hidden) > HEAD_CHUNK:
            total = total + torch.utils.checkpoint.checkpoint(
                _head_loss, head, part, targets, use_reentrant=False
            )
        else:
            total = total + _head_loss(head, part, targets)
    return total


def _head_loss(head, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return cross_entropy(head(hidden).float(), targets, reduction="sum")


class _FrozenHeadLoss(torch.autograd.Function):
    """The same loss for a frozen head, one chunk of logits at a time.

    The gradient of the hidden states is computed along with the loss, so that no logits are kept.
    """

    @staticmethod
    def forward(ctx, hidden, weight, targets):
        total = hidden.new_zeros((), dtype=torch.float32)
        wanted = ctx.needs_input_grad[0]
        grads = []
        for part, target in zip(hidden.split(HEAD_CHUNK), targets.split(HEAD_CHUNK), strict=True):
            logits = (part.to(weight.dtype) @ weight.T).float()
            logits = logits.sub_(torch.logsumexp(logits, 1, keepdim=True))
            counted = (target != IGNORED).unsqueeze(1)  # a filled pack has more positions
            target = target.clamp(min=0).unsqueeze(1)
            total -= (logits.gather(1, target) * counted).sum()
            if wanted:
                slope = logits.exp_().scatter_add_(1, target, -counted.to(logits.dtype))
                grads.append((slope.to(weight.dtype) @ weight) * counted)
                del slope
            del logits  # before the next chunk's
        if wanted:
            ctx.save_for_backward(torch.cat(grads).to(hidden.dtype))
        return total

    @staticmethod
    def backward(ctx, grad):
        (slope,) = ctx.saved_tensors
        return slope * grad.to(slope.dtype), None, None
