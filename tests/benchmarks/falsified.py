"""Draw references and their falsifications to be read: how many are false and fluent?

Prints, for each kind, the share of the references that the rule can change, then the drawn ones
with their changes. The counts of a reading stand in docs/validity.md.

Examples:
  python tests/benchmarks/falsified.py workflow/resources/dialogues/dev.csv ko
  python tests/benchmarks/falsified.py dialogsum.test.jsonl en --draw 50 --seed 0
"""

import argparse
import random
from pathlib import Path

import pandas as pd

from yoyak.scoring.falsify import KINDS, falsify


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="CSV or JSON lines with columns summary…")
    parser.add_argument("language", choices=("ko", "en"))
    parser.add_argument("--kind", choices=KINDS, default="all")
    parser.add_argument("--draw", type=int, default=50, help="references to print")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    texts = references(options.file)
    for kind in KINDS:
        changed = sum(falsify(text, options.language, kind) is not None for text in texts)
        print(f"{kind:9} {changed} of {len(texts)} ({changed / len(texts):.1%})")
    for text in random.Random(options.seed).sample(texts, options.draw):
        falsified = falsify(text, options.language, options.kind)
        print("\n" + text)
        if falsified is None:
            print("  (nothing to change)")
            continue
        print(falsified.text)
        for change in falsified.changed:
            print(f"  {change.kind}: {change.before!r} → {change.after!r}")


def references(path: Path) -> list[str]:
    """Every reference of a file: its columns summary, summary1, summary2, …"""
    table = read(path)
    columns = [name for name in table.columns if str(name).startswith("summary")]
    return [text for name in columns for text in table[name].dropna()]


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_json(path, lines=True)


if __name__ == "__main__":
    main()
