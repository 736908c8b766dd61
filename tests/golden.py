"""What a change must leave as it is: hashes of a study's scores, summaries and adapters.

Examples:
  python tests/golden.py results/embedded > before.json
  python tests/golden.py results/embedded --against before.json    # exits with 1 on a difference

The times of the jobs, from Snakemake's benchmarks, stand beside them to be looked at; they differ
from run to run.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

TABLES = ("rouge", "differences", "context", "levels", "diagnostics")
PATTERNS = (
    *(f"tables/{name}.csv" for name in TABLES),
    "**/predictions/*.jsonl",
    "**/final_model/adapter_model.safetensors",
)


def hashes(results: Path) -> dict[str, str]:
    """SHA-256 of every file that the promise covers, by its path below the results folder."""
    files = sorted({file for pattern in PATTERNS for file in results.glob(pattern)})
    return {
        str(file.relative_to(results)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def seconds(results: Path) -> dict[str, float]:
    """Seconds of all jobs of each rule."""
    totals: dict[str, float] = {}
    for file in sorted((results / "benchmarks").rglob("*.tsv")):
        header, values = (line.split("\t") for line in file.read_text().splitlines()[:2])
        rule = file.relative_to(results / "benchmarks").parts[0].removesuffix(".tsv")
        totals[rule] = round(totals.get(rule, 0) + float(values[header.index("s")]), 1)
    return totals


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="folder of a finished study")
    parser.add_argument("--against", type=Path, help="what an earlier call printed")
    args = parser.parse_args()
    found = {"files": hashes(args.results), "seconds": seconds(args.results)}
    if not found["files"]:
        sys.exit(f"error: {args.results} holds no finished study")
    if args.against is None:
        print(json.dumps(found, indent=1))
        return
    before = json.loads(args.against.read_text(encoding="utf-8"))
    names = sorted(before["files"].keys() | found["files"].keys())
    differ = [name for name in names if before["files"].get(name) != found["files"].get(name)]
    for name in differ:
        print(f"differs: {name}")
    for rule, spent in found["seconds"].items():
        print(f"{rule}: {before['seconds'].get(rule, 0):.0f} s before, {spent:.0f} s now")
    print(f"{len(names) - len(differ)} of {len(names)} files equal")
    sys.exit(bool(differ))


if __name__ == "__main__":
    main()
