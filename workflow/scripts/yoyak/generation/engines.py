"""Entry point of generation: choose an engine, check it, and run it.

Two engines share an interface, `run(prompts, on_row)` and `logits(rows, steps)`: the slots
(slot_engine.py), fast, with their own attention and often their own layers; and transformers'
`generate` (plain_engine.py), for beams, penalties and models that the slots do not support.
Before anything is generated the engine is compared with the model's own forward (check.py); if it
differs the next one is tried, and if none is correct, one error says so.
"""

import sys
import time
from collections.abc import Iterable
from dataclasses import replace

import torch

from yoyak.errors import UserError, is_out_of_memory
from yoyak.generation.check import LONGEST, Reference
from yoyak.generation.decoding import DecodingSettings, Generated
from yoyak.generation.plain_engine import PlainGenerator
from yoyak.generation.plan import (
    GenerationPlan,
    OnRow,
    OutOfMemory,
    check_positions,
    plan_generation,
    refuse_empty,
)
from yoyak.generation.slot_engine import Generator
from yoyak.models.reference import causal_lm

# Engines to try, from the fastest to the reference itself. The default attention of some classes
# omits what their eager one does; padding changes the rows of some; and what some cache
# depends on what follows.
TRIES: dict[str, dict] = {
    "slots": {},
    "padded batches": {},
    "padded batches, eager attention": {"attention": "eager"},
    "one row at a time": {"attention": "eager", "batch": 1},
    "one row at a time, no cache": {"attention": "eager", "batch": 1, "cache": False},
}


def generate(
    model,
    prompts: list[list[int]],
    *,
    stop_token_ids: Iterable[int],
    decoding: DecodingSettings,
    batch: int | str = "auto",
    engine: str = "auto",
    batch_invariant: bool = True,
    plan: GenerationPlan | None = None,
    on_row: OnRow | None = None,
) -> list[Generated]:
    """Continue every prompt; results in the order of `prompts`.

    Args:
        model: a causal LM of transformers, or one wrapped by peft; it is put in evaluation mode.
        prompts: token ids, special tokens included.
        stop_token_ids: all tokens that end a summary.
        batch: `execution.generation_batch`; engine, batch_invariant: of `execution`, too.
        plan: engine, batch and memory, used as given; None: chosen by check and free memory.
        on_row: called with (index, result) as soon as a row is finished.

    Raises:
        UserError: as choose_generator.
    """
    if plan is None:
        generator, record = choose_generator(
            model,
            prompts,
            stop_token_ids,
            decoding,
            batch=batch,
            engine=engine,
            batch_invariant=batch_invariant,
        )
        report_choice(generator.plan, record)
    else:
        generator = make_generator(model, stop_token_ids, decoding, plan)
    return run_halving(generator, prompts, on_row)[0]


def run_halving(
    generator, prompts: list[list[int]], on_row: OnRow | None = None
) -> tuple[list[Generated], GenerationPlan]:
    """Results, and the plan that was used in the end.

    After running out of memory, the unfinished rows are restarted with half as many at once; raises
    OutOfMemory if not even one fits.
    """
    done: dict[int, Generated] = {}

    def run(generator) -> bool:
        left = [index for index in range(len(prompts)) if index not in done]

        def finish(place: int, row: Generated) -> None:
            done[left[place]] = row
            if on_row is not None:
                on_row(left[place], row)

        try:
            generator.run([prompts[index] for index in left], finish)
        except OutOfMemory:
            if generator.plan.slots == 1:
                raise
            return False
        return True

    while not run(generator):
        model, stops, decoding = generator.model, generator.stop_token_ids, generator.decoding
        slots = generator.plan.slots // 2
        plan = replace(generator.plan, slots=slots, refill=max(1, slots // 8))
        print(f"out of memory: continuing with {slots} rows at once", file=sys.stderr)
        torch.cuda.empty_cache()
        generator = make_generator(model, stops, decoding, plan)
    return [done[index] for index in range(len(prompts))], generator.plan


def make_generator(model, stop_token_ids, decoding: DecodingSettings, plan: GenerationPlan):
    """The plan's engine; its `run(prompts, on_row)` may be called again and again."""
    engine = PlainGenerator if plan.engine == "plain" else Generator
    return engine(model, stop_token_ids, decoding, plan)


def choose_generator(
    model,
    prompts: list[list[int]],
    stop_token_ids: Iterable[int],
    decoding: DecodingSettings,
    *,
    batch: int | str = "auto",
    engine: str = "auto",
    batch_invariant: bool = True,
):
    """The fastest engine that is correct for this model, and the check's record for run.json.

    Args:
        prompts: all that the engine must serve.
        batch: `execution.generation_batch`; engine, batch_invariant: of `execution`, too.

    Returns:
        (engine with its plan, record)

    Raises:
        UserError: no engine is correct, or not the requested one.
    """
    refuse_empty(prompts)
    reach = max(map(len, prompts), default=0) + decoding.max_new_tokens - 1
    check_positions(model, reach)
    most = min(LONGEST, reach)
    choices = {"batch": batch, "batch_invariant": batch_invariant}
    while True:
        try:
            return _choose(model, prompts, stop_token_ids, decoding, engine, choices, most)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or most <= 16:
                raise
        most //= 2  # the model's own attention takes memory with the square of a row's length
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _choose(model, prompts, stop_token_ids, decoding, engine, choices, most, first=True):
    started = time.perf_counter()
    reference = Reference(model, prompts, decoding.max_new_tokens, most)
    lengths = [len(prompt) for prompt in prompts]
    refused: list[str] = []
    for name in _candidates(model, engine, decoding):
        settings = choices | TRIES[name]
        kind = "slots" if name == "slots" else "plain"

        def build(kind=kind, settings=settings):
            plan = plan_generation(model, lengths, decoding, engine=kind, **settings)
            return make_generator(model, stop_token_ids, decoding, plan)

        found = reference.examine(build)
        if found.fault is None:
            record = {"engine": kind, "why": _why(engine, decoding, refused)}
            record |= reference.record(found.difference)
            return found.engine, record | {"seconds": round(time.perf_counter() - started, 2)}
        refused.append(f"{name}: {found.fault}")
    if first and not reference.repeats():
        print("transformers' own forward gave another result the second time", file=sys.stderr)
        return _choose(model, prompts, stop_token_ids, decoding, engine, choices, most, first=False)
    if engine == "packed":
        fault = refused[0].removeprefix("slots: ")
        raise UserError(f"execution.engine: packed: {fault}; set execution.engine: auto")
    kind = causal_lm(model).config.model_type
    raise UserError(
        f"model type '{kind}' cannot generate as its own forward says ({'; '.join(refused)}); "
        "choose another checkpoint"
    )


def _candidates(model, engine: str, decoding: DecodingSettings) -> list[str]:
    """Names of TRIES that may be tried."""
    slots, padded, eager, *alone = TRIES
    if engine == "packed":
        if decoding.beyond_slots:
            raise UserError(
                f"execution.engine: packed takes no {', '.join(decoding.beyond_slots)}; set "
                "execution.engine: auto"
            )
        return [slots]
    names = [slots] if engine == "auto" and not decoding.beyond_slots else []
    already = causal_lm(model).config._attn_implementation == "eager"
    return [*names, padded, *([] if already else [eager]), *alone]


def _why(engine: str, decoding: DecodingSettings, refused: list[str]) -> str:
    """Why this engine and no faster one."""
    reasons = [*decoding.beyond_slots]
    reasons += ["execution.engine: plain"] if engine == "plain" else []
    return "; ".join(reasons + refused) or "equal to the model's own forward"


def report_choice(plan: GenerationPlan, record: dict) -> None:
    """Print the plan and the check's record to stderr, one line each."""
    print(plan.describe(), file=sys.stderr)
    parts = [f"check: {record['engine']} ({record['why']})"]
    if record["rows"]:
        parts.append(
            f"logits of {record['rows']} prompts within {record['logits_difference']:.1e} of "
            f"transformers' own (tolerance {record['tolerance']:.0e}), no leak"
        )
    parts += [f"not shown: {one}" for one in record["not_shown"]]
    print("; ".join([*parts, f"{record['seconds']} s"]), file=sys.stderr)
