"""Whether a row of a product depends on its place or on the other rows, and what blocks cost.

    python tests/benchmarks/product_heights.py

One GPU. For the products of several models, in bf16 and fp16: rows in another order, and one row
among others, must give the same bits at one height. This is what generation/invariant.py rests on.
"""

import torch
import torch.nn.functional as F

PREFILL = 16_384
# (inputs, outputs) of q k v, o, gate with up, down and the head.
PRODUCTS = {
    "135M": [(576, 960), (576, 576), (576, 3072), (1536, 576), (576, 49152)],
    "0.5B": [(896, 1152), (896, 896), (896, 9728), (4864, 896), (896, 151936)],
    "1B": [(2048, 3072), (2048, 2048), (2048, 16384), (8192, 2048), (2048, 128256)],
    "3B": [(3072, 5120), (3072, 3072), (3072, 16384), (8192, 3072), (3072, 128256)],
    "4B": [(2560, 6144), (4096, 2560), (2560, 19456), (9728, 2560), (2560, 151936)],
    "7B": [(3584, 4608), (3584, 3584), (3584, 37888), (18944, 3584), (3584, 152064)],
    "8B": [(4096, 6144), (4096, 4096), (4096, 28672), (14336, 4096), (4096, 128256)],
}


def main() -> None:
    torch.manual_seed(0)
    print("rows that depend on others:", dependent() or "none")
    for name in ("135M", "1B", "3B"):
        whole, *blocks = (milliseconds(name, height) for height in (PREFILL, 1024, 2048, 4096))
        print(name, f"{PREFILL} rows {whole:.2f} ms, in blocks of 1024, 2048, 4096:", *blocks)


def dependent() -> list[tuple]:
    found = []
    for dtype in (torch.bfloat16, torch.float16):
        for name, products in PRODUCTS.items():
            for inputs, outputs in products:
                weight = torch.randn(outputs, inputs, device="cuda", dtype=dtype) * 0.02
                heights = (64, 128, 256, 512) if outputs > 45_000 else (64, 128, 256, 512, 2048)
                found += [
                    (name, dtype, inputs, outputs, height)
                    for height in heights
                    if not independent(weight, height)
                ]
    return found


def independent(weight: torch.Tensor, height: int) -> bool:
    x = torch.randn(height, weight.shape[1], device="cuda", dtype=weight.dtype)
    whole, order = F.linear(x, weight), torch.randperm(height, device="cuda")
    others = torch.cat([x[:1], torch.randn_like(x[1:])])
    moved = torch.equal(F.linear(x[order], weight), whole[order])
    return moved and torch.equal(F.linear(others, weight)[0], whole[0])


def milliseconds(name: str, height: int, repeats: int = 10) -> float:
    """Of a layer's four products over a prefill, in blocks of this height."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    total = 0.0
    for inputs, outputs in PRODUCTS[name][:4]:
        x = torch.randn(PREFILL, inputs, device="cuda", dtype=torch.bfloat16)
        weight = torch.randn(outputs, inputs, device="cuda", dtype=torch.bfloat16) * 0.02
        out = x.new_empty(PREFILL, outputs)
        for number in range(repeats + 2):
            if number == 2:  # the first two warm up
                begin.record()
            for start in range(0, PREFILL, height):
                torch.mm(x[start : start + height], weight.T, out=out[start : start + height])
        end.record()
        torch.cuda.synchronize()
        total += begin.elapsed_time(end) / repeats
    return round(total, 3)


if __name__ == "__main__":
    main()
