"""The Triton kernels against plain torch, on a GPU."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import CONFIGS, PROJECTIONS, SIZES, adapters, examples
from transformers import AutoModelForCausalLM

from yoyak.data.packing import build_pack
from yoyak.kernels import decoder_layers, plain_layers
from yoyak.kernels.decoder_layers import fuse_decoder_layers
from yoyak.models.attention import PACKED
from yoyak.training.loss import batch_loss

TOKENS, WIDTH, RANK, ROOM = 1100, 832, 16, 64
CLOSE = 6e-3  # bf16 rounding, relative to the norm


def triton():
    """Its import needs the package triton, which only a CUDA build of torch brings."""
    from yoyak.kernels import triton_layers

    return triton_layers


def off(result, expected) -> float:
    return ((result.float() - expected.float()).norm() / expected.float().norm()).item()


def draw(*shape):
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


def both(function, *arguments, out):
    """The same call with both implementations; `out` names the argument that is written."""
    results = []
    for module in (triton(), plain_layers):
        copies = [a.clone() if isinstance(a, torch.Tensor) else a for a in arguments]
        returned = getattr(module, function)(*copies)
        results.append(returned if out is None else copies[out])
    return results


@pytest.mark.parametrize("count", (1, 2, 3))
@pytest.mark.parametrize("p", (0.0, 0.05))
def test_adapter_kernels(count, p):
    x, a = draw(TOKENS, WIDTH), draw(count * RANK, WIDTH)
    u, du, dx = draw(TOKENS, ROOM), draw(TOKENS, count * RANK), draw(TOKENS, WIDTH)
    seed = torch.tensor(2**30 + 5, dtype=torch.int32, device="cuda")
    scale = (p, seed, 2.0, count)
    fast, slow = both("lora_down", x, a, u, *scale, out=2)
    assert off(fast, slow) < CLOSE and not fast[:, count * RANK :].any()
    assert off(*both("lora_grad_a", x, du, *scale, out=None)) < CLOSE
    assert off(*both("lora_grad_x_", dx, du, a, *scale, out=0)) < CLOSE


def test_row_kernels():
    x, delta, grad, weight = (
        draw(TOKENS, 768),
        draw(TOKENS, 768),
        draw(TOKENS, ROOM + 768),
        draw(768),
    )
    assert off(*both("rms_norm", x, weight, 1e-5, torch.zeros_like(grad), delta, out=3)) < CLOSE
    rstd = torch.rsqrt(x.float().pow(2).mean(1) + 1e-5)
    assert off(*both("rms_norm_backward", grad, x, weight, rstd, delta, out=None)) < CLOSE
    table = torch.randn(TOKENS, 32, device="cuda").repeat(1, 2)
    for gain in (None, draw(64)):
        tail = (table.cos(), table.sin(), 64, gain, 1e-6)
        assert off(*both("rotate", x, torch.zeros_like(x), *tail, out=1)) < CLOSE
        zeros = torch.zeros_like(x)
        assert off(*both("rotate_backward", delta, x, zeros, *tail, out=2)) < CLOSE
    room = torch.zeros(TOKENS, 384 + ROOM, device="cuda", dtype=torch.bfloat16)
    assert off(*both("swiglu", x, room, out=1)) < CLOSE
    assert off(*both("swiglu_backward_", draw(TOKENS, 448), x, out=1)) < CLOSE


@pytest.mark.parametrize("nested", (True, False))
def test_nf4_values_are_those_of_bitsandbytes(nested):
    functional = pytest.importorskip("bitsandbytes.functional")
    packed, state = functional.quantize_4bit(
        draw(320, 448), blocksize=64, compress_statistics=nested, quant_type="nf4"
    )
    packed.quant_state = state
    out = draw(320, 512)
    triton().dequantize(packed, out[:, :448])
    assert torch.equal(out[:, :448], functional.dequantize_4bit(packed, state))


@pytest.mark.parametrize("family", list(CONFIGS))
@pytest.mark.parametrize("recompute", (False, True))
def test_a_model_on_the_gpu_has_the_gradients_of_the_cpu(family, recompute, monkeypatch):
    """bf16 against fp32, with the same dropout masks on both."""

    def draw(device, training):
        return torch.randint(0, 2**31 - 1, (4,), dtype=torch.int32).to(device)

    monkeypatch.setattr(decoder_layers, "draw_seeds", draw)
    sizes = SIZES | {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        CONFIGS[family](**sizes), attn_implementation=PACKED, dtype=torch.float32
    )
    model = get_peft_model(
        model, LoraConfig(r=16, lora_dropout=0.05, target_modules=PROJECTIONS)
    ).train()
    with torch.no_grad():
        for parameter in adapters(model).values():
            parameter.copy_(torch.randn_like(parameter) * 0.1)
    fuse_decoder_layers(model, recompute)
    pack = build_pack(examples((300, 70, 129)), [0, 1, 2])
    results = []
    for device in ("cpu", "cuda"):
        if device == "cuda":
            state = {name: part.clone() for name, part in adapters(model).items()}
            model = model.to(device, torch.bfloat16)
            for name, part in adapters(model).items():
                part.data = state[name].data.to(device)
            fuse_decoder_layers(model, recompute)
        torch.manual_seed(3)
        loss = batch_loss(model, pack.to(device)) / len(pack.targets)
        loss.backward()
        results.append(
            (loss.item(), {name: part.grad.cpu() for name, part in adapters(model).items()})
        )
        model.zero_grad()
    (slow_loss, slow), (fast_loss, fast) = results
    assert fast_loss == pytest.approx(slow_loss, rel=5e-3)
    for name in slow:
        assert off(fast[name], slow[name]) < 0.06, name
