"""Generation that outlives its process: rows stream to a work folder and are picked up again.

Prompts are taken in chunks of fixed size, longest first, and no slot is refilled across a chunk's
edge. In 16 bits a row's rounding depends on its neighbours, so a resumed run keeps whole chunks
only and then gives the same file as an undisturbed one. In fp32 on the CPU the neighbours do not
matter and every finished row is kept.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

from yoyak.evaluation.decoding import Generated

CHUNK_FACTOR = 4  # rows of a chunk for each slot: its ragged end costs little


def chunk_rows(slots: int) -> int:
    return CHUNK_FACTOR * slots


def cut_chunks(prompts: list[list[int]], rows: int) -> list[list[int]]:
    """Indices of `prompts`, longest first, cut into chunks; equal prompts give equal chunks."""
    order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
    return [order[start : start + rows] for start in range(0, len(order), rows)]


class RowFile:
    """Finished rows of one split, one JSON line each, appended as they come."""

    def __init__(self, path: Path):
        self.path = Path(path)

    def read(self) -> dict[int, Generated]:
        """Rows by index. A line that a kill cut short is dropped, here and in the file."""
        rows = {}
        if not self.path.exists():
            return rows
        whole = self.path.read_bytes()
        end = whole.rfind(b"\n") + 1
        if end < len(whole):
            os.truncate(self.path, end)
        for line in whole[:end].splitlines():
            row = json.loads(line)
            index = row.pop("index")
            rows[index] = Generated(**row)
        return rows

    def append(self, index: int, row: Generated) -> None:
        """Survives a kill of the process at once, and a crash of the machine after `sync`."""
        line = json.dumps({"index": index, **vars(row)})
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def sync(self) -> None:
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())

    def keep(self, rows: dict[int, Generated]) -> None:
        """Start over with just these rows."""
        aside = self.path.with_suffix(".aside")
        lines = [json.dumps({"index": index, **vars(row)}) + "\n" for index, row in rows.items()]
        aside.write_text("".join(lines), encoding="utf-8")
        os.replace(aside, self.path)


def generate_resumable(
    run: Callable,
    prompts: list[list[int]],
    file: RowFile,
    *,
    rows_per_chunk: int,
    keep_parts: bool,
    on_row: Callable[[int, Generated], None],
) -> list[Generated]:
    """Continue every prompt, going on from what `file` holds; results in the prompts' order.

    Args:
        run: `Generator.run`.
        keep_parts: whether rows of an unfinished chunk may stay (fp32 on the CPU).
        on_row: called with (index, row) for every row, those found in the file first.
    """
    chunks = cut_chunks(prompts, rows_per_chunk)
    done = file.read()
    if not keep_parts:
        whole = [chunk for chunk in chunks if all(index in done for index in chunk)]
        done = {index: done[index] for chunk in whole for index in chunk}
    file.keep(done)
    for index, row in done.items():
        on_row(index, row)

    for chunk in chunks:
        left = [index for index in chunk if index not in done]
        if not left:
            continue

        def finish(place: int, row: Generated, left: list[int] = left) -> None:
            done[left[place]] = row
            file.append(left[place], row)
            on_row(left[place], row)

        run([prompts[index] for index in left], finish)
        file.sync()
    return [done[index] for index in range(len(prompts))]
