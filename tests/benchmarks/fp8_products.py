"""What FP8 products of the frozen weights would bring: the four products of a layer, both ways.

    python tests/benchmarks/fp8_products.py [--shape llama_3.2_3b] [--tokens 22000]

One H200 or another GPU with FP8. Rows are scaled by their largest value (e4m3), weights once,
inputs and gradients in passing (a compiled kernel, timed with the product). Prints the time of
every product in bf16 and FP8, and what a whole step would take if nothing else changed.
"""

import argparse
import json
from pathlib import Path

import torch
from shapes import SHAPES

E4M3 = torch.finfo(torch.float8_e4m3fn).max


@torch.compile(dynamic=False)
def scaled(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of x in e4m3, and the scale of each, (rows, 1) float32."""
    scale = x.abs().amax(1, keepdim=True).float().clamp(min=1e-12) / E4M3
    return (x.float() / scale).to(torch.float8_e4m3fn), scale


def products(shape: str) -> dict[str, tuple[int, int]]:
    """(inputs, outputs) of each product of a layer."""
    config = SHAPES[shape]
    heads = config.num_attention_heads + 2 * config.num_key_value_heads
    hidden, inner, dim = config.hidden_size, config.intermediate_size, config.head_dim
    return {
        "qkv": (hidden, heads * dim),
        "o": (config.num_attention_heads * dim, hidden),
        "gate, up": (hidden, 2 * inner),
        "down": (inner, hidden),
    }


def seconds(work, repeats: int = 20) -> float:
    for _ in range(3):
        work()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(repeats):
        work()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / repeats / 1000


def measure(x: torch.Tensor, weight: torch.Tensor) -> dict[str, float]:
    """x (tokens, inputs) · weight (outputs, inputs) transposed."""
    low, scale = scaled(weight)

    def in_fp8():
        rows, of_rows = scaled(x)
        return torch._scaled_mm(
            rows, low.T, of_rows, scale.T, out_dtype=torch.bfloat16, use_fast_accum=True
        )

    exact = x @ weight.T
    off = (in_fp8().float() - exact.float()).norm() / exact.float().norm()
    return {
        "bf16": seconds(lambda: x @ weight.T),
        "fp8": seconds(in_fp8),
        "scaling": seconds(lambda: scaled(x)),
        "off": off.item(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", default="llama_3.2_3b", choices=list(SHAPES))
    parser.add_argument("--tokens", type=int, default=22_000, help="of a step")
    parser.add_argument("--step", type=float, help="seconds of a whole step in bf16")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    tokens = arguments.tokens // 16 * 16
    results = {}
    for name, (inputs, outputs) in products(arguments.shape).items():
        weight = torch.randn(outputs, inputs, device="cuda", dtype=torch.bfloat16) * 0.02
        for way, width, matrix in (
            ("forward", inputs, weight),
            ("backward", outputs, weight.T.contiguous()),
        ):
            x = torch.randn(tokens, width, device="cuda", dtype=torch.bfloat16)
            results[f"{name}, {way}"] = measure(x, matrix)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {arguments.shape}, {tokens}")
    print(f"{'product':<20} {'bf16 ms':>8} {'fp8 ms':>8} {'scaling':>8} {'ratio':>6} {'off':>7}")
    for name, found in results.items():
        bf16, fp8, scaling = (1000 * found[key] for key in ("bf16", "fp8", "scaling"))
        ratio, off = bf16 / fp8, found["off"]
        print(f"{name:<20} {bf16:>8.3f} {fp8:>8.3f} {scaling:>8.3f} {ratio:>6.2f} {off:>7.4f}")
    layers = SHAPES[arguments.shape].num_hidden_layers
    saved = layers * sum(found["bf16"] - found["fp8"] for found in results.values())
    print(f"a step would save {1000 * saved:.0f} ms")
    if arguments.step:
        print(f"{arguments.step / (arguments.step - saved):.2f} times as fast")
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
