"""Progress of a generation: a bar on a terminal, lines in a log."""

import sys
import time

from tqdm import tqdm

from yoyak.run.logs import duration

SECONDS_BETWEEN_LINES = 10


class RowProgress:
    """Rows, rows/s and time left on stderr: live, or a line now and then."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.started, self.spoke = time.monotonic(), float("-inf")
        live = sys.stderr.isatty()
        self.bar = (
            tqdm(total=total, unit=" rows", desc="summarising", mininterval=0.2) if live else None
        )

    def row(self) -> None:
        """Count one finished row."""
        self.done += 1
        if self.bar is not None:
            self.bar.update()
            if self.done == self.total:
                self.bar.close()
            return
        now = time.monotonic()
        if now - self.spoke >= SECONDS_BETWEEN_LINES or self.done == self.total:
            self.spoke = now
            rate = self.done / max(now - self.started, 1e-3)
            left = duration((self.total - self.done) / rate)
            line = f"row {self.done}/{self.total}  {rate:,.1f} rows/s  left {left}"
            print(line, file=sys.stderr, flush=True)
