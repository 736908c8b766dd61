"""Whatever the execution plan, what is learned is what one padded batch would teach."""

import itertools

import pytest
import torch
from tiny_models import adapters, examples, load_adapted, padded_batch, write_checkpoint
from transformers.trainer_pt_utils import LabelSmoother

from yoyak.data.packing import PackSize, build_pack, fill_pack, pack_batch
from yoyak.kernels.decoder_layers import fuse_decoder_layers
from yoyak.training.loss import batch_loss, hidden_states, supervised_states

TOLERANCE = 1e-5
FAMILIES = ("llama", "qwen3", "qwen2", "mistral")


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def reference(folder):
    """(loss, gradients) of transformers' own forward pass and loss on one padded batch."""
    model = load_adapted(folder, attention="eager").train()
    loss = model(**padded_batch(examples())).loss
    loss.backward()
    return loss.item(), gradients(model)


def gradients(model) -> dict[str, torch.Tensor]:
    grads = {name: part.grad.clone() for name, part in adapters(model).items()}
    model.zero_grad()
    return grads


def step(model, rows, budget, fill=lambda pack: pack) -> float:
    """What LLMTrainer.training_step does, on one global batch."""
    packs = pack_batch(rows, list(range(len(rows))), budget)
    supervised = sum(len(pack.targets) for pack in packs)
    total = 0.0
    packs = [fill(pack) for pack in packs]
    for pack in packs:
        loss = batch_loss(model, pack) / supervised
        loss.backward()
        total += loss.item()
    return total


def assert_same(grads, expected, tolerance=TOLERANCE):
    assert grads.keys() == expected.keys()
    for name, grad in grads.items():
        distance = (grad - expected[name]).norm() / expected[name].norm()
        assert distance < tolerance, f"{name}: {distance:.1e} off"


@pytest.mark.parametrize(
    "budget, base, recompute, fused",
    [
        *itertools.product((1, 40, 64, 10_000), ("nf4", "dequantized"), (False, True), (False,)),
        *itertools.product((40, 10_000), ("nf4", "dequantized"), (False, True), (True,)),
    ],
)
def test_any_plan_gives_the_padded_gradient(folder, reference, budget, base, recompute, fused):
    model = load_adapted(folder, base).train()
    if fused:
        assert fuse_decoder_layers(model, recompute) == 2
    elif recompute:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
    loss = step(model, examples(), budget)
    expected_loss, expected = reference
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE)
    assert_same(gradients(model), expected)


@pytest.mark.parametrize("fused", (False, True))
def test_filled_packs_give_the_padded_gradient(folder, reference, fused):
    def fill(pack):
        full = fill_pack(pack, PackSize.of(pack).rounded(tokens=64, boundaries=4, supervised=16))
        assert full.tokens % 64 == len(full.cu_seq_lens) % 4 == len(full.supervised) % 16 == 0
        assert full.boundaries == tuple(full.cu_seq_lens.tolist())
        assert full.input_ids.shape == full.position_ids.shape == (1, full.tokens)
        return full

    model = load_adapted(folder, "dequantized").train()
    if fused:
        fuse_decoder_layers(model, recompute=False)
    expected_loss, expected = reference
    assert step(model, examples(), 70, fill) == pytest.approx(expected_loss, rel=TOLERANCE)
    assert_same(gradients(model), expected)


@pytest.mark.parametrize("fused", (False, True))
def test_packed_logits_equal_separate_logits(folder, fused):
    model = load_adapted(folder).eval()
    if fused:
        fuse_decoder_layers(model, recompute=False)
    rows = examples()
    with torch.no_grad():
        together = hidden_states(model, build_pack(rows, list(range(len(rows)))))[0]
        apart = [hidden_states(model, build_pack([row], [0]))[0] for row in rows]
    assert torch.allclose(together, torch.cat(apart), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("recompute", (False, True))
def test_a_last_fused_layer_computes_what_is_read(folder, recompute):
    """And nothing else: what it gives has as many rows as tokens have a loss."""
    model = load_adapted(folder).train()
    fuse_decoder_layers(model, recompute)
    pack = build_pack(examples(), list(range(6)))
    found = supervised_states(model, pack)
    assert len(found) == len(pack.supervised) < pack.tokens
    whole = hidden_states(model, pack)[0]
    assert len(whole) == pack.tokens
    assert torch.allclose(found, whole[pack.supervised], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("base", ("nf4", "dequantized"))
def test_an_evaluation_leaves_the_gradients_alone(folder, base):
    model = load_adapted(folder, base).train()
    before = (step(model, examples(), 64), gradients(model))
    model.eval()
    with torch.no_grad():
        batch_loss(model, build_pack(examples(), list(range(6))))
    model.train()
    assert step(model, examples(), 64) == before[0]
    assert_same(gradients(model), before[1], 1e-7)


def test_accumulated_steps_equal_one_big_batch(folder):
    model = load_adapted(folder).train()
    rows = examples()
    packs = pack_batch(rows, list(range(6)), 10_000)
    supervised = len(packs[0].targets)
    (batch_loss(model, packs[0]) / supervised).backward()
    expected = gradients(model)
    for row in rows:
        (batch_loss(model, build_pack([row], [0])) / supervised).backward()
    assert_same(gradients(model), expected)


def test_label_smoothers_own_loss_agrees(folder, reference):
    """A second loss of transformers, by another way than the model's `labels`."""
    model = load_adapted(folder, attention="eager").eval()
    batch = padded_batch(examples())
    labels = batch.pop("labels")
    with torch.no_grad():
        output = {"logits": model(**batch).logits}
        loss = LabelSmoother(epsilon=0.0)(output, labels, shift_labels=True)
    assert loss.item() == pytest.approx(reference[0], rel=TOLERANCE)


def test_fused_dropout_keeps_the_mean_gradient(folder, request):
    """Masks differ between the plans, their mean does not: compared within its standard error."""
    if "qwen3" in request.node.name:
        pytest.skip("adapters are the same in both families, and this takes a while")
    means, spreads = [], []
    for fused in (False, True):
        model = load_adapted(folder, "dequantized", dropout=0.2).train()
        if fused:
            fuse_decoder_layers(model, recompute=True)
        draws = []
        for seed in range(50):
            torch.manual_seed(seed)
            step(model, examples((23, 7, 31)), 10_000)
            draws.append(torch.cat([grad.flatten() for grad in gradients(model).values()]))
        draws = torch.stack(draws)
        means.append(draws.mean(0))
        spreads.append(draws.var(0) / len(draws))
    distance = (means[0] - means[1]).pow(2).sum()
    expected = sum(spreads).sum()  # of the squared distance, if both have the same mean
    assert 0.4 < distance / expected < 2.0
    correlation = torch.corrcoef(torch.stack(means))[0, 1]
    assert correlation > 0.95


def test_fused_dropout_is_the_same_when_recomputed(folder):
    results = []
    for recompute in (False, True):
        model = load_adapted(folder, dropout=0.3).train()
        fuse_decoder_layers(model, recompute)
        torch.manual_seed(4)
        results.append((step(model, examples(), 64), gradients(model)))
    assert results[0][0] == results[1][0]
    assert_same(results[0][1], results[1][1], 1e-7)


def test_dropout_masks_have_their_rate_and_differ(folder):
    from yoyak.kernels.plain_layers import kept

    first, second = (kept(200, 300, 0.05, 12345, adapter, "cpu") for adapter in (0, 2))
    for mask in (first, second):
        assert (~mask).float().mean().item() == pytest.approx(0.05, abs=0.004)
    both = (~first & ~second).float().mean().item()
    assert both == pytest.approx(0.0025, abs=0.001)
    assert (~first[:, 1:] & ~first[:, :-1]).float().mean().item() == pytest.approx(0.0025, abs=1e-3)
