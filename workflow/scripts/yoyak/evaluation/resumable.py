"""One generation task whose plan stays in the work folder, so that it goes on by the same plan."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from yoyak.evaluation.decoding import DecodingSettings, Generated
from yoyak.evaluation.generation import choose_generator, make_generator, report_check
from yoyak.evaluation.generation_plan import GenerationPlan, OutOfMemory
from yoyak.evaluation.loading import LoadingPlan
from yoyak.evaluation.predictions import RowFile, chunk_rows, generate_resumable
from yoyak.run.workspace import atomic_write_json


class Session:
    """Loads its plan from `work` or makes one; halves the rows at once when memory runs out.

    Attributes:
        loading: how the model is to be loaded.
        plan: engine, rows at once and so on, once `prepare` was called.
        check: what was found when the engine was chosen, for run.json; kept with the plan.
        resumed_rows, fresh_tokens: rows found finished, and tokens decoded by this process.
    """

    def __init__(self, work: Path, loading: LoadingPlan):
        self.file = Path(work) / "plan.json"
        self.loading, self.stored = loading, None
        if self.file.exists():
            stored = json.loads(self.file.read_text(encoding="utf-8"))
            if stored["loading"]["device"] == loading.device:
                self.stored, self.loading = stored, LoadingPlan(**stored["loading"])
            else:  # another kind of device rounds in another way: start over
                for rows in Path(work).glob("*.jsonl"):
                    rows.unlink()
        self.resumed_rows = self.fresh_tokens = 0
        self.reduced_from: int | None = None

    def prepare(
        self,
        model,
        prompts: list[list[int]],
        decoding: DecodingSettings,
        stop_token_ids: list[int],
        batch: int | str = "auto",
        engine: str = "auto",
    ) -> None:
        """Make the generator for all prompts of the task, by the stored plan if there is one.

        Args:
            batch: `execution.generation_batch`; engine: `execution.engine`. Plan and check are
                printed on stderr.

        Raises:
            UserError: no engine is right on this model, or not the one that was asked for.
        """
        self.model, self.decoding, self.stop_token_ids = model, decoding, stop_token_ids
        if self.stored is None:
            self.generator, self.check = choose_generator(
                model, prompts, stop_token_ids, decoding, batch=batch, engine=engine
            )
            self.plan = self.generator.plan
            self.rows_per_chunk = chunk_rows(self.plan.slots)
            self._store()
        else:
            self.check = self.stored["check"]
            self._use(GenerationPlan(**self.stored["generation"]))
            self.rows_per_chunk = self.stored["rows_per_chunk"]
            self.reduced_from = self.stored["reduced_from"]
        print(self.plan.describe(), file=sys.stderr)
        report_check(self.check)

    def generate(
        self, prompts: list[list[int]], file: Path, on_row: Callable[[int, Generated], None]
    ) -> list[Generated]:
        """Continue one split's prompts, finished rows going to `file`; see generate_resumable."""
        found = {"count": True}
        reported = set()

        def note(index: int, row: Generated) -> None:
            if index in reported:  # seen before memory ran out
                return
            reported.add(index)
            if found["count"]:
                self.resumed_rows += 1
            else:
                self.fresh_tokens += row.new_tokens
            on_row(index, row)

        def run(part, finish):
            found["count"] = False
            return self.generator.run(part, finish)

        while True:
            try:
                return generate_resumable(
                    run,
                    prompts,
                    RowFile(file),
                    rows_per_chunk=self.rows_per_chunk,
                    # Always fp32 there; but a padded row's rounding depends on its neighbours.
                    keep_parts=self.loading.device == "cpu" and self.plan.engine == "slots",
                    on_row=note,
                )
            except OutOfMemory:
                if self.plan.slots == 1:
                    raise
                self._halve()

    def record(self) -> dict:
        """The plan for run.json."""
        return {
            **self.loading.as_dict(),
            **self.plan.as_dict(),
            "rows_per_chunk": self.rows_per_chunk,
            "reduced_from": self.reduced_from,
        }

    def _halve(self) -> None:
        """Fewer rows at once, recorded. Chunks stay as they are."""
        self.reduced_from = self.reduced_from or self.plan.slots
        slots = self.plan.slots // 2
        print(f"out of memory: going on with {slots} rows at once", file=sys.stderr)
        self.generator = None
        torch.cuda.empty_cache()
        self._use(replace(self.plan, slots=slots, refill=max(1, slots // 8)))
        self._store()

    def _use(self, plan: GenerationPlan) -> None:
        self.plan = plan
        self.generator = make_generator(self.model, self.stop_token_ids, self.decoding, plan)

    def _store(self) -> None:
        content = {
            "loading": self.loading.as_dict(),
            "generation": self.plan.as_dict(),
            "check": self.check,
            "rows_per_chunk": self.rows_per_chunk,
            "reduced_from": self.reduced_from,
        }
        atomic_write_json(self.file, content)
