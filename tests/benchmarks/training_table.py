"""What training.py measured, as a Markdown table.

python tests/benchmarks/training_table.py tests/benchmarks/results/*.json
"""

import json
import sys
from pathlib import Path

COLUMNS = (
    *("run", "gpu", "date", "layers", "tokens/s", "share", "× plain", "peak GB", "reserved"),
    *("predicted", "first step, s"),
)


def table(records: list[dict]) -> str:
    """One row a run. Ratios are to the plain recipe in the same call."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "| " + " | ".join("---" for _ in COLUMNS) + " |"]
    for record in records:
        plain = record["runs"].get("plain", {}).get("tokens_per_second")
        for name, run in record["runs"].items():
            cells = [name, record["gpu"], record["date"], *_figures(run, plain)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _figures(run: dict, plain: float | None) -> list[str]:
    if "out_of_memory" in run:
        return [run["out_of_memory"], *[""] * (len(COLUMNS) - 4)]
    speed = run["tokens_per_second"]
    return [
        run.get("layers", "plain"),
        f"{speed:,.0f}",
        f"{run['share']:.0%}" if "share" in run else "",
        f"{speed / plain:.1f}" if plain else "",
        f"{run['peak_gb']:.1f}",
        f"{run['reserved_gb']:.1f}",
        f"{run['predicted_gb']:.1f}" if "predicted_gb" in run else "",
        f"{run['first_step_seconds']:.0f}" if "first_step_seconds" in run else "",
    ]


if __name__ == "__main__":
    print(table([json.loads(Path(file).read_text(encoding="utf-8")) for file in sys.argv[1:]]))
