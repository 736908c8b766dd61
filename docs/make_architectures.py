"""Write the table of docs/architectures.md: every architecture of the zoo, as a study takes it.

Two minutes on one core; nothing is downloaded. From the repository's root:

  PYTHONPATH=workflow/scripts:tests/support python docs/make_architectures.py

tests/unit/test_architectures.py compares the same numbers with the table.
"""

import logging
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from against_eager import Comparison, compare
from architectures import Architecture, read_zoo
from tqdm import tqdm
from transformers.utils import logging as transformers_logging

PAGE = Path(__file__).with_name("architectures.md")
BEGIN, END = "<!-- written by make_architectures.py -->", "<!-- end -->"
NOTHING = "–"
COLUMNS = ("Model type", "Class", "Models of this kind", "Training", "Generation", "Loss", "Tokens")


def main() -> None:
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    transformers_logging.set_verbosity_error()
    zoo, sizes = read_zoo()
    found = [(row, measure(row, sizes)) for row in tqdm(zoo, file=sys.stderr)]
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{tables(found)}{END}{after}", encoding="utf-8")
    print(f"wrote {PAGE}")


def measure(architecture: Architecture, sizes: dict) -> Comparison:
    """Write the checkpoint to a temporary folder and compare."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = architecture.write(Path(folder) / "model", sizes)
        return compare(checkpoint, Path(folder), architecture.auto_class)


def tables(found: list[tuple[Architecture, Comparison]]) -> str:
    """The versions, the table of all rows, and why some are not packed."""
    lines = [versions(), "", _line(COLUMNS), _line(["---"] * len(COLUMNS))]
    lines += [_line(_cells(*row)) for row in found]
    lines += ["", "Why not packed:", ""]
    lines += [f"- {row.name}: {'. '.join(result.why)}" for row, result in found if result.why]
    return "\n".join(lines) + "\n"


def versions() -> str:
    """Other releases give some models another attention, and so another way."""
    return f"With transformers {transformers.__version__} and torch {torch.__version__}:"


def _cells(row: Architecture, found: Comparison) -> list[str]:
    difference = found.loss_difference
    tokens = f"{found.equal} of {found.compared}" if found.compared else NOTHING
    tokens += f", {found.ties} ties" if found.ties else ""
    return [
        row.name,
        found.model_class or NOTHING,
        row.known or NOTHING,
        found.training,
        found.generation,
        NOTHING if difference is None else f"{difference:.0e}",
        tokens,
    ]


def _line(cells) -> str:
    return "| " + " | ".join(cells) + " |"


def read_table(page: str) -> dict[str, dict[str, str]]:
    """The rows between the marks by their first cell: {column: cell}."""
    written = page.split(BEGIN)[1].split(END)[0]
    rows = [line.strip("| ").split(" | ") for line in written.splitlines() if line.startswith("|")]
    return {cells[0]: dict(zip(COLUMNS, cells, strict=True)) for cells in rows[2:]}


if __name__ == "__main__":
    main()
