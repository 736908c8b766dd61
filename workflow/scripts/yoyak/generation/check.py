"""Check an engine on this very model before it generates anything.

The reference is transformers' own forward: eager attention, one row at a time, no cache, no
padding. A few real prompts and then a few more tokens go through it and through the engine, so that
both prefill and decoding are compared. *Values*: the logits are equal within the rounding
of the number format. *Leaks*: a row's logits stay the same, bit by bit, when all other rows change.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from yoyak.errors import UserError, device_fault, is_out_of_memory, one_line
from yoyak.models.reference import (
    LOGITS_TOLERANCE,
    causal_lm,
    evaluation_mode,
    has_experts,
    reference_logits,
    spread,
    unreached_windows,
)

STEPS = 3  # tokens decoded after each prompt
LONGEST = 8192  # tokens of a row; eager attention needs memory with its square


@dataclass(frozen=True)
class Finding:
    """Result for one engine: `fault` in words, or None; `difference` if there were logits."""

    engine: object
    difference: float | None
    fault: str | None


class Reference:
    """A few prompts and the logits of the model's own forward after them.

    Args:
        prompts: all prompts of the task: the longest, the shortest and two others are taken. The
            longest goes on, by its own tokens again, as far as a row of the task can: windows and
            lengths that only a summary reaches are seen too.
        most: longer rows are cut to so many tokens.

    Raises:
        UserError: the model's own forward fails, or gives no finite logits.
    """

    def __init__(self, model, prompts: list[list[int]], max_new_tokens: int, most: int = LONGEST):
        self.model = causal_lm(model)
        self.dtype = self.model.get_input_embeddings().weight.dtype
        self.tolerance = LOGITS_TOLERANCE[self.dtype]
        self.steps = min(STEPS, max_new_tokens - 1)
        self.reach = max(map(len, prompts), default=0) + max_new_tokens - 1
        self.most = most
        self.rows = []
        for place, prompt in enumerate(_chosen(prompts)):
            wanted = len(prompt) + self.steps if place else self.reach
            length = max(min(wanted, most), self.steps + 1)
            self.rows.append((prompt * (length // len(prompt) + 1))[:length])
        try:
            with evaluation_mode(self.model):
                self.logits = [self._after(row) for row in self.rows]
        except Exception as error:
            if isinstance(error, UserError) or _unrecoverable(error):
                raise
            raise UserError(f"the model's own forward fails: {_in_words(error)}") from error

    def examine(self, build: Callable) -> Finding:
        """Compare the engine that `build` makes; an exception becomes a fault in words.

        Raises only what no other engine would avoid: UserError, out of memory, a broken device.
        """
        engine = difference = None
        with evaluation_mode(self.model), torch.no_grad():
            try:
                engine = build()
                difference, fault = self._compare(engine) if self.rows else (0.0, None)
            except Exception as error:
                if isinstance(error, UserError) or _unrecoverable(error):
                    raise
                fault = _in_words(error)
        return Finding(engine, difference, fault)

    def repeats(self) -> bool:
        """Whether the model's own forward gives the same result twice, bit by bit."""
        with evaluation_mode(self.model):
            return all(
                torch.equal(self._after(r), was)
                for r, was in zip(self.rows, self.logits, strict=True)
            )

    def record(self, difference: float | None) -> dict:
        """For run.json."""
        return {
            "logits_difference": difference,
            "tolerance": self.tolerance,
            "rows": len(self.rows),
            "leak": False,
            "not_shown": self._not_shown(),
        }

    def _after(self, row: list[int]) -> torch.Tensor:
        """(steps + 1, vocabulary): after all but the last `steps` tokens, and after each of these.

        As one row of that length each time; causal models give all of them in one pass.
        """
        whole = self._forward(row, self.steps + 1)
        lengths = range(len(row) - self.steps, len(row))
        if not lengths or spread(self._forward(row[: lengths[0]], 1), whole[:1]) <= self.tolerance:
            return whole
        parts = [self._forward(row[:length], 1) for length in lengths]
        return torch.cat([*parts, whole[-1:]])

    def _forward(self, row: list[int], last: int) -> torch.Tensor:
        """(last, vocabulary) float32 at the end of one row."""
        tokens = torch.tensor(row, device=self.model.get_input_embeddings().weight.device)
        places = torch.arange(len(row) - last, len(row), device=tokens.device)
        logits = reference_logits(self.model, tokens, places)
        if not logits.isfinite().all():
            cure = "its weights are damaged: download them again"
            if self.dtype == torch.float16:
                cure = "set model.dtype: bf16"
            raise UserError(
                f"the model's own forward gives no finite logits in {self.dtype}; {cure}"
            )
        return logits

    def _compare(self, engine) -> tuple[float | None, str | None]:
        """(largest difference, fault)."""
        found = engine.logits(self.rows, self.steps)
        if not found.isfinite().all():
            return None, "logits are not finite"
        difference = max(map(spread, found, self.logits))
        if not difference <= self.tolerance:
            return difference, f"logits differ by {difference:.1e} (tolerance {self.tolerance:.0e})"
        for kept in (0, 1):  # every other row keeps its tokens
            rows = [row if i % 2 == kept else row[::-1] for i, row in enumerate(self.rows)]
            again = engine.logits(rows, self.steps)[kept::2]
            moved = 0.0
            if not torch.equal(again, found[kept::2]):
                moved = max(map(spread, again, found[kept::2]))
            # Routing changes the shapes of an expert's products, and so their rounding.
            if not moved <= (self.tolerance if has_experts(self.model) else 0.0):
                return difference, f"a row's logits move by {moved:.1e} with its neighbours' tokens"
        return difference, None

    def _not_shown(self) -> list[str]:
        """What these rows cannot show, and why it does not matter."""
        notes = unreached_windows(self.model, self.reach)
        if self.most < self.reach:
            notes.append(f"rows of up to {self.reach} tokens: compared up to {self.most}")
        return notes


def _unrecoverable(error: Exception) -> bool:
    """Whether no other engine would help: out of memory or a broken device."""
    return is_out_of_memory(error) or device_fault(error) is not None


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(error)[:200]}"


def _chosen(prompts: list[list[int]]) -> list[list[int]]:
    """The longest, the shortest and two in between; a single one twice."""
    order = sorted(prompts, key=lambda prompt: (-len(prompt), prompt))
    places = dict.fromkeys((0, len(order) - 1, len(order) // 3, 2 * len(order) // 3))
    chosen = [order[place] for place in places if order]
    return chosen * 2 if len(chosen) == 1 else chosen
