"""NEFTune's noise: each row's own length, transformers' own draw for one row, off elsewhere."""

import pytest
import torch
from tiny_models import examples, load_adapted
from tiny_trainings import llm_trainer
from transformers.integrations.neftune import activate_neftune, deactivate_neftune

from yoyak.data.packing import build_pack
from yoyak.data.padding import build_padded
from yoyak.models.reference import causal_lm
from yoyak.training.loss import batch_loss
from yoyak.training.neftune import noisy_embeddings

ALPHA, HIDDEN = 5.0, 64
ATTENTION = {build_pack: None, build_padded: "sdpa"}


def noise_of(model, batch, alpha=ALPHA, seed=1):
    """What the block adds to the embeddings, and the loss with it."""
    embedding = causal_lm(model).get_input_embeddings()
    clean = embedding(batch.input_ids)
    seen = []
    torch.manual_seed(seed)
    with noisy_embeddings(model, batch, alpha):
        handle = embedding.register_forward_hook(lambda *parts: seen.append(parts[-1]))
        loss = batch_loss(model, batch)
        handle.remove()
    return seen[0] - clean, loss


@pytest.mark.parametrize("length", [7, 61])
@pytest.mark.parametrize("build", ATTENTION)
def test_of_a_single_row_it_is_transformers_own(plain_folder, build, length):
    model = load_adapted(plain_folder, attention=ATTENTION[build]).train()
    batch = build(examples((length,)), [0])
    _, loss = noise_of(model, batch)
    handle = activate_neftune(model, ALPHA)
    torch.manual_seed(1)
    assert batch_loss(model, batch).item() == loss.item()
    deactivate_neftune(model, handle)
    assert batch_loss(model, batch).item() != loss.item()


@pytest.mark.parametrize("build", ATTENTION)
def test_every_row_has_the_noise_of_its_own_length(plain_folder, build):
    model = load_adapted(plain_folder, attention=ATTENTION[build]).train()
    lengths = (50, 5, 20)
    noise, _ = noise_of(model, build(examples(lengths), [0, 1, 2]))
    noise = noise.detach()
    if build is build_pack:
        parts = noise[0].split(lengths)
    else:
        assert noise[1, 5:].abs().max() == noise[2, 20:].abs().max() == 0
        parts = [row[:length] for row, length in zip(noise, lengths, strict=True)]
    for part, length in zip(parts, lengths, strict=True):
        bound = ALPHA / (length * HIDDEN) ** 0.5
        assert 0.95 * bound < part.abs().max() <= bound * (1 + 1e-5)
        assert part.std() == pytest.approx(bound / 3**0.5, rel=0.1)


def test_it_changes_training_steps_and_nothing_else(plain_folder, tmp_path):
    """Accumulated packs, each of several rows; not the engine's check, not the evaluation."""
    found = {}
    for alpha in (None, ALPHA):
        made = llm_trainer(plain_folder, neftune_noise_alpha=alpha)
        made.work = tmp_path / str(alpha)
        packed = made._create_trainer()
        batch = packed._collate([packed.train_dataset[number] for number in range(8)])
        assert len(batch["batches"]) > 1 < len(batch["batches"][-1].examples)
        start = packed.evaluate()["eval_loss"]
        torch.manual_seed(3)
        step = packed.training_step(packed.model, batch).item()
        found[alpha] = (start, made.checks[-1]["loss_difference"], step)
        assert packed.evaluate()["eval_loss"] == start
        assert packed.args.neftune_noise_alpha == alpha
        assert not causal_lm(packed.model).get_input_embeddings()._forward_hooks
    plain, noisy = found[None], found[ALPHA]
    assert plain[:2] == noisy[:2] and plain[2] != noisy[2]
