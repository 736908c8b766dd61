"""The fast generation engine: prompts in, new tokens out, as fast as the device allows.

One loop serves zero-shot and fine-tuned models, CPU and GPU. Prompts are token ids and wait sorted
by length; a packed prefill (no padding) puts them into the slots of a `SlotCache`; each decoding
step adds one token to every row; a finished row leaves at once and a waiting prompt takes its
slot. The active rows are always the first slots, so a step is a plain slice. On a GPU each step is
a captured CUDA graph and the host reads the tokens one step behind, so the card never waits.

Greedy decoding and sampling of architectures whose layers look at other tokens through attention
alone; engines.py checks whether a model is one of them.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import torch

from yoyak.errors import UserError, is_out_of_memory
from yoyak.generation.cache import SLOT_ATTENTION, SlotBatch, SlotCache
from yoyak.generation.decoding import DecodingSettings, Generated, choose_tokens, draw_uniforms
from yoyak.generation.forward import make_forward
from yoyak.generation.invariant import BatchInvariant
from yoyak.generation.plan import (
    GenerationPlan,
    OnRow,
    refuse_empty,
    too_many_rows,
)
from yoyak.models.reference import attention_of, causal_lm


@dataclass(eq=False)
class _Row:
    """A prompt in progress; rows are compared by identity (eq=False)."""

    index: int
    prompt: list[int]
    tokens: list[int] = field(default_factory=list)  # as far as the host has read them
    decoded: int = 0  # tokens chosen on the device: ahead of `tokens` by what is in flight
    finish: str = ""  # why it ended; empty on its way

    @property
    def length(self) -> int:
        """Positions of the row, its newest token included."""
        return len(self.prompt) + self.decoded


class Generator:
    """Keeps the cache and the captured graphs of one model between runs."""

    def __init__(self, model, stop_token_ids, decoding: DecodingSettings, plan: GenerationPlan):
        self.model = causal_lm(model)
        self.stop_token_ids = frozenset(stop_token_ids)
        self.decoding = decoding
        self.plan = plan
        self.forward: Any = make_forward(self.model)
        if plan.batch_invariant:
            self.forward = BatchInvariant(self.forward, self.model.get_output_embeddings())
        self.device = self.model.get_input_embeddings().weight.device
        self.lag = 1 if self.device.type == "cuda" else 0
        self.graphs: dict[int, tuple[torch.cuda.CUDAGraph, torch.Tensor]] = {}
        self.cache: Any = None  # a SlotCache from the first run on
        self.uniforms: torch.Tensor | None = None

    @torch.inference_mode()
    def run(self, prompts: list[list[int]], on_row: OnRow | None = None) -> list[Generated]:
        """Continue every prompt; results in the order of `prompts`."""
        self._check(prompts)
        results: dict[int, Generated] = {}  # by the prompt's index

        def finish(row: _Row) -> None:
            stopped = row.finish == "stop"
            tokens = row.tokens[:-1] if stopped else row.tokens
            results[row.index] = Generated(tokens, len(row.tokens), row.finish)
            if on_row is not None:
                on_row(row.index, results[row.index])

        self.model.eval()
        try:
            with attention_of(self.model, SLOT_ATTENTION):
                self._allocate()
                self._loop(prompts, finish)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self.cache, self.graphs = None, {}
            raise too_many_rows(self.plan) from None
        return [results[index] for index in range(len(prompts))]

    def logits(self, rows: list[list[int]], steps: int) -> torch.Tensor:
        """What `run` would choose from: all rows prefilled together, then decoded token by token.

        Args:
            rows: token ids, each longer than `steps`; the last `steps` of each are decoded.

        Returns:
            (rows, steps + 1, vocabulary) float32, after all but the last `steps` tokens and after
            each of these.
        """
        cache = self._new_cache(len(rows), max(map(len, rows)))
        prompts = [row[: len(row) - steps] for row in rows]
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        with attention_of(self.model, SLOT_ATTENTION):
            flat, batch, ends = self._pack(prompts, cache, first_slot=0)
            found = [self.forward(flat, batch, ends - 1)]
            for step in range(steps):
                tokens = [row[len(row) - steps + step] for row in rows]
                batch = SlotBatch(
                    cache=cache,
                    slots=torch.arange(len(rows), device=self.device),
                    positions=lengths + step,
                    longest=max(map(len, prompts)) + step + 1,
                )
                found.append(self.forward(torch.tensor(tokens, device=self.device), batch))
        return torch.stack(found, dim=1).float()

    def _check(self, prompts: list[list[int]]) -> None:
        refuse_empty(prompts)
        room = self.plan.capacity - self.decoding.max_new_tokens
        for index, prompt in enumerate(prompts):
            if len(prompt) > room:
                raise UserError(
                    f"prompt {index} has {len(prompt)} tokens, the plan has room for {room}"
                )

    def _allocate(self) -> None:
        if self.cache is not None:
            return
        self.cache = self._new_cache(self.plan.slots, self.plan.capacity)
        if self.decoding.do_sample:
            draws = self.decoding.max_new_tokens + 1
            self.uniforms = torch.zeros(self.plan.slots, draws, device=self.device)
            self.drawn = torch.zeros(self.plan.slots, dtype=torch.int64, device=self.device)

    def _new_cache(self, slots: int, capacity: int) -> SlotCache:
        dtype = self.model.get_input_embeddings().weight.dtype
        config = self.model.config.get_text_config()
        return SlotCache(config, slots, capacity, dtype, self.device)

    def _loop(self, prompts: list[list[int]], finish: Callable[[_Row], None]) -> None:
        order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
        waiting = deque(_Row(index, prompts[index]) for index in order)
        rows: list[_Row] = []  # rows[i] lives in slot i
        in_flight: deque[tuple[list[_Row], torch.Tensor, torch.cuda.Event | None]] = deque()
        while waiting or rows or in_flight:
            free = self.plan.slots - len(rows)
            if waiting and (free >= self.plan.refill or not rows):
                while waiting and len(rows) < self.plan.slots:
                    new = self._take(waiting, self.plan.slots - len(rows))
                    in_flight.append((new, *self._prefill(new, first_slot=len(rows))))
                    rows += new
            elif rows:
                in_flight.append((list(rows), *self._step(rows)))
            while len(in_flight) > (self.lag if rows else 0):
                self._collect(*in_flight.popleft(), finish)
                self._leave(rows)

    def _take(self, waiting: deque[_Row], free: int) -> list[_Row]:
        """The next prompts, as many as fit the free slots and one prefill."""
        taken: list[_Row] = []
        tokens = 0
        while waiting and len(taken) < free:
            tokens += len(waiting[0].prompt)
            if taken and tokens > self.plan.prefill_tokens:
                break
            taken.append(waiting.popleft())
        return taken

    def _pack(self, prompts: list[list[int]], cache: SlotCache, first_slot: int):
        """Prompts for the slots from `first_slot` on: (flat tokens, their batch, their ends)."""
        lengths = [len(prompt) for prompt in prompts]
        flat = torch.tensor([token for prompt in prompts for token in prompt], device=self.device)
        sizes = torch.tensor(lengths, device=self.device)
        ends = sizes.cumsum(0)
        slots = torch.arange(first_slot, first_slot + len(prompts), device=self.device)
        batch = SlotBatch(
            cache=cache,
            slots=slots.repeat_interleave(sizes, output_size=len(flat)),
            positions=torch.arange(len(flat), device=self.device)
            - (ends - sizes).repeat_interleave(sizes, output_size=len(flat)),
            longest=max(lengths),
            boundaries=torch.cat([ends.new_zeros(1), ends]).to(torch.int32),
            ends=(0, *accumulate(lengths)),
        )
        return flat, batch, ends

    def _prefill(self, rows: list[_Row], first_slot: int):
        """Fill the slots from `first_slot` on with these prompts and choose their first tokens."""
        flat, batch, ends = self._pack([row.prompt for row in rows], self.cache, first_slot)
        here = slice(first_slot, first_slot + len(rows))
        uniforms = None
        if self.uniforms is not None:
            draws = torch.stack([draw_uniforms(row.prompt, self.decoding) for row in rows])
            self.uniforms[here] = draws.to(self.device)
            self.drawn[here] = 1
            uniforms = self.uniforms[here, 0]
        logits = self.forward(flat, batch, ends - 1)
        chosen = choose_tokens(logits, self.decoding, uniforms)
        self.cache.tokens[here] = chosen
        self.cache.lengths[here] = ends.diff(prepend=ends.new_zeros(1))
        for row in rows:
            row.decoded = 1
        return self._to_host(chosen)

    def _step(self, rows: list[_Row]):
        """One more token for every row."""
        longest = min(max(row.length for row in rows), self.plan.capacity)
        for row in rows:
            row.decoded += 1
        if not self.plan.graphs:
            return self._to_host(self._advance(len(rows), longest))
        size = self.plan.bucket(len(rows))
        if size not in self.graphs:
            self._capture(size)
        self.graphs[size][0].replay()
        return self._to_host(self.graphs[size][1][: len(rows)])

    def _advance(self, size: int, longest: int = 0) -> torch.Tensor:
        """Decode the first `size` slots by one token, all on the device. Returns (size,) int64."""
        cache = self.cache
        tokens, positions = cache.tokens[:size], cache.lengths[:size]
        batch = SlotBatch(
            cache=cache,
            slots=torch.arange(size, device=self.device),
            positions=positions,
            longest=longest,
        )
        uniforms = None
        if self.uniforms is not None:
            drawn = self.drawn[:size]
            uniforms = self.uniforms[:size].gather(1, drawn[:, None])[:, 0]
            drawn.add_(1).clamp_(max=self.uniforms.shape[1] - 1)
        chosen = choose_tokens(self.forward(tokens, batch), self.decoding, uniforms)
        tokens.copy_(chosen)
        # Slots past the last row only fill up a graph's size: they must stay inside the cache.
        positions.add_(1).clamp_(max=cache.capacity - 1)
        return chosen

    def _capture(self, size: int) -> None:
        """Record `_advance` for this many slots as a CUDA graph, leaving the slots as they are."""
        state = [self.cache.tokens, self.cache.lengths]
        if self.uniforms is not None:
            state.append(self.drawn)
        before = [tensor.clone() for tensor in state]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._advance(size)  # compiles kernels and warms the libraries up; keys are rewritten
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        pool = next(iter(self.graphs.values()))[0].pool() if self.graphs else None
        with torch.cuda.graph(graph, pool=pool):
            chosen = self._advance(size)
        for tensor, saved in zip(state, before, strict=True):
            tensor.copy_(saved)
        self.graphs[size] = (graph, chosen)

    def _to_host(self, chosen: torch.Tensor):
        if self.device.type != "cuda":
            return chosen, None
        host = torch.empty(chosen.shape, dtype=chosen.dtype, pin_memory=True)
        host.copy_(chosen, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        return host, event

    def _collect(self, rows: list[_Row], chosen: torch.Tensor, event, finish) -> None:
        """Give each row its token; rows that have ended drop surplus tokens."""
        if event is not None:
            event.synchronize()
        for row, token in zip(rows, chosen.tolist(), strict=True):
            if row.finish:
                continue
            row.tokens.append(token)
            if token in self.stop_token_ids:
                row.finish = "stop"
            elif len(row.tokens) == self.decoding.max_new_tokens:
                row.finish = "length"
            if row.finish:
                finish(row)

    def _leave(self, rows: list[_Row]) -> None:
        """Remove finished rows; the last rows move into their slots, so that slots stay dense."""
        before = len(rows)
        for slot in reversed(range(before)):
            if not rows[slot].finish:
                continue
            last = rows.pop()
            if slot < len(rows):
                rows[slot] = last
                self.cache.move(len(rows), slot, min(last.length, self.plan.capacity))
                if self.uniforms is not None:
                    self.uniforms[slot] = self.uniforms[len(rows)]
                    self.drawn[slot] = self.drawn[len(rows)]
        if len(rows) < before:
            self.cache.lengths[len(rows) : before] = 0  # an empty slot costs no attention
