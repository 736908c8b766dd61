"""Yoyak's training beside Unsloth's with its packing: the same shapes, row lengths and card.

    python -m venv E && E/bin/pip install torch==2.11.0 unsloth==2026.10.9 xformers==0.0.35
    timeout -s KILL 3600 python tests/benchmarks/peers/side_by_side.py --peer-python E/bin/python
    python tests/benchmarks/peers/side_by_side.py --only 3b qwen2-7b --output F.json
    python tests/benchmarks/peers/side_by_side.py --show F.json G.json      # one table of both

One NVIDIA GPU, random weights of the true shapes, no network. Unsloth is no dependency of this
project and patches transformers wherever it is imported: it has an environment of its own, with
the same torch, and each figure is a fresh process. They take turns (Yoyak, Unsloth, Yoyak, …), so
that a card that slows down slows both. A trainer that catches SIGTERM outlives `timeout`: give it
`-s KILL`, as each measurement is given here.

Both train LoRA of rank 16 on all seven projections with the global batch of the model's settings,
Yoyak in packs up to its token budget, Unsloth in its padding-free batches, bf16; both without
dropout, which Unsloth's fast path wants, and with 0.05, the settings' own. Memory free: nothing is
recomputed; Yoyak multiplies by the base dequantised once, Unsloth by NF4, or by bf16 with
`--bases nf4 bf16`. Memory scarce: NF4, layers recomputed; Unsloth cuts the global batch in two and
offloads what its checkpointing keeps. Tokens are those of the examples, without padding. The table
ends with what Unsloth ran on: with torch before 2.12, `attention by sdpa` means that xformers did
not load, and each row was a call of its own. PyPI's xformers is built for CUDA 12: beside a torch
for CUDA 13, `E/bin/pip install nvidia-cuda-runtime-cu12` and put its `lib` on LD_LIBRARY_PATH.
"""

import argparse
import json
import math
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
# name: shape, examples of a global batch, runs of training.py with memory free and scarce
PAIRS = {
    "3b": ("llama_3.2_3b", 64, "3b-free", "3b-8gb"),
    "qwen2-7b": ("qwen2.5_7b", 64, "qwen2-7b", "qwen2-7b-nf4"),
    "qwen2-0.5b": ("qwen2.5_0.5b", 64, "qwen2-0.5b-graphs", None),
    "8b": ("llama_3_8b", 64, "8b-free", "8b-16gb"),
    "4b": ("qwen3_4b", 60, "4b-free", "4b-10gb"),
    "mistral-7b": ("mistral_7b", 64, "mistral-7b", None),
    "gemma3-4b": ("gemma3_4b", 64, "gemma3-4b", None),
    "1b": ("llama_3.2_1b", 64, "1b-free", None),
    "135m": ("smollm2_135m", 64, "135m-graphs", None),
}
SCARCE = ["--recompute", "--packs", "2"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=list(PAIRS), choices=list(PAIRS))
    parser.add_argument("--memory", nargs="+", default=["free", "scarce"],
                        choices=["free", "scarce"])  # fmt: skip
    parser.add_argument("--bases", nargs="+", default=["nf4"], choices=["nf4", "bf16"],
                        help="Unsloth's base where memory is free")  # fmt: skip
    parser.add_argument("--dropouts", nargs="+", type=float, default=[0.0, 0.05])
    parser.add_argument("--repeat", type=int, default=1, help="turns; the table shows the mean")
    parser.add_argument("--steps", type=int, default=12, help="of Unsloth, four to warm up")
    parser.add_argument("--peer-python", default=sys.executable,
                        help="a Python that has Unsloth, or a command: 'env PYTHONPATH=… python'"
                        )  # fmt: skip
    parser.add_argument("--limit", type=int, default=400, help="seconds of one measurement")
    parser.add_argument("--output", type=Path, help="all figures as JSON, after each measurement")
    parser.add_argument("--show", nargs="+", type=Path, help="only the table of these outputs")
    args = parser.parse_args()
    results = [row for file in args.show or [] for row in json.loads(file.read_text("utf-8"))]
    if not args.show:
        results = measure_all(args)
    print("\n".join(table(results)))


def measure_all(args: argparse.Namespace) -> list[dict]:
    """One dict a pair: shape, memory, Unsloth's base, dropout, and the figures of each turn."""
    results = []
    for name in args.only:
        with tempfile.TemporaryDirectory(prefix="side-by-side-") as scratch:
            for case in cases(args, name):
                results.append(case | {"yoyak": [], "unsloth": []})
                for _ in range(args.repeat):
                    for who, command in commands(args, case, scratch).items():
                        record = measure(command, Path(scratch) / "figures.json", args.limit)
                        figures = record.get("runs", {}).get(case["run"], record)
                        if "gpu" in record:
                            results[-1] |= {"gpu": record["gpu"], "date": record["date"]}
                        results[-1][who].append(figures)
                        print(*case.values(), who, json.dumps(figures), flush=True)
                        if args.output:
                            args.output.write_text(json.dumps(results, indent=1), "utf-8")
    return results


def cases(args: argparse.Namespace, name: str) -> Iterator[dict]:
    """What one shape is measured with."""
    shape, _, *runs = PAIRS[name]
    for memory, run in zip(("free", "scarce"), runs, strict=True):
        if run is not None and memory in args.memory:
            for base in args.bases if memory == "free" else ["nf4"]:
                for dropout in args.dropouts:
                    yield {
                        "shape": shape, "run": run, "memory": memory, "base": base,
                        "dropout": dropout,
                    }  # fmt: skip


def commands(args: argparse.Namespace, case: dict, scratch: str) -> dict[str, list[str]]:
    """The command of each trainer, in their order; `--output FILE` is still to come."""
    shape, dropout = case["shape"], ["--dropout", str(case["dropout"])]
    examples = next(examples for name, examples, *_ in PAIRS.values() if name == shape)
    return {
        "yoyak": [
            *(sys.executable, str(HERE.parent / "training.py"), "--only", case["run"]), *dropout
        ],
        "unsloth": [
            *shlex.split(args.peer_python), str(HERE / "unsloth_run.py"), shape, *dropout,
            *("--examples", str(examples), "--steps", str(args.steps), "--base", case["base"]),
            *("--checkpoint", f"{scratch}/checkpoint"),
            *(SCARCE if case["memory"] == "scarce" else []),
        ],
    }  # fmt: skip


def measure(command: list[str], file: Path, limit: int) -> dict:
    """What the command writes to --output; {"failed": why} if it wrote nothing within the limit."""
    file.unlink(missing_ok=True)
    ended = subprocess.run(["timeout", "-s", "KILL", str(limit), *command, "--output", str(file)])
    if file.exists():
        return json.loads(file.read_text("utf-8"))
    late = ended.returncode in (137, -9)
    return {"failed": f"killed after {limit} s" if late else f"exit code {ended.returncode}"}


def table(results: list[dict]) -> list[str]:
    """Lines of a Markdown table: both trainers' means over the turns, and their ratio."""
    lines = [
        "| shape | memory | dropout | Yoyak, tokens/s | peak GB "
        "| Unsloth, tokens/s | peak GB | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in results:
        ours, theirs = mean(row["yoyak"]), mean(row["unsloth"])
        memory = row["memory"] + (", bf16 base" if row["base"] == "bf16" else "")
        cells = [row["shape"], memory, f"{row['dropout']:g}"]
        for figures, turns in ((ours, row["yoyak"]), (theirs, row["unsloth"])):
            cells += (
                [f"{figures[0]:,.0f}", f"{figures[1]:.1f}"] if figures else [trouble(turns), ""]
            )
        cells.append(f"{ours[0] / theirs[0]:.2f}" if ours and theirs else "")
        lines.append(f"| {' | '.join(cells)} |")
    for row in results:
        for turn in row["unsloth"]:
            used = turn.get("versions", {}) | {"attention by": turn.get("attention")}
            line = ", ".join(f"{name} {value}" for name, value in used.items() if value)
            lines += [line] if line and line not in lines else []
    return lines


def mean(turns: list[dict]) -> tuple[float, float] | None:
    """Tokens per second and GB; None if a turn failed or its loss was no number."""
    if not turns or any(trouble([turn]) for turn in turns):
        return None
    speeds, peaks = zip(*((t["tokens_per_second"], t["peak_gb"]) for t in turns), strict=True)
    return sum(speeds) / len(turns), max(peaks)


def trouble(turns: list[dict]) -> str:
    """Why there is no figure; nothing if all is well."""
    for turn in turns:
        if "out_of_memory" in turn:
            return "out of memory"
        if "failed" in turn:
            return turn["failed"]
        losses = turn["loss"] if isinstance(turn["loss"], list) else [turn["loss"]]
        if not all(map(math.isfinite, losses)):
            return f"loss {losses}"
    return "" if turns else "not run"


if __name__ == "__main__":
    main()
