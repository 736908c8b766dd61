"""Fuzzing of the real readers: any input is read, or refused in one clear line; nothing else.

By default each test tries a few hundred inputs, the same ones every time. With
YOYAK_FUZZ_SECONDS=600 each test goes on for ten minutes with inputs that nobody has tried:

    YOYAK_FUZZ_SECONDS=600 python -m pytest tests/inputs -k fuzz -s

What once broke a reader stands as `known` in its test and is tried first, always.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterable

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from yoyak.errors import UserError

SECONDS = float(os.environ.get("YOYAK_FUZZ_SECONDS", "0"))
HANG = 20  # seconds of the processor after which an input counts as a hang
LONGEST_MESSAGE = 4000  # characters: five bad rows in words and the line numbers of all


def fuzz(
    inputs: st.SearchStrategy,
    check: Callable,
    known: Iterable = (),
    examples: int = 120,
) -> None:
    """Call `check` with every known input, then with drawn ones; it fails by raising."""
    for value in known:
        _in_time(check)(value)
    tried, end = 0, time.monotonic() + SECONDS

    def counted(value):
        nonlocal tried
        tried += 1
        _in_time(check)(value)

    number = random.SystemRandom().randrange(10**9) if SECONDS else 0
    while True:
        run = settings(
            max_examples=2000 if SECONDS else examples,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        )(seed(number)(given(inputs)(counted)))
        run()
        number += 1
        if time.monotonic() >= end:
            break
    if SECONDS:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
        print(f"{test}: {tried:,} inputs, none broke it", flush=True)


def read_or_refused(read: Callable, *arguments):
    """What `read` returns; None where it refuses in one clear line."""
    try:
        return read(*arguments)
    except UserError as error:
        text = str(error)
        assert text.isprintable(), f"more than one clear line: {text!r}"
        assert 10 < len(text) < LONGEST_MESSAGE, text
        return None


@st.composite
def mutated(draw, samples: list[bytes], tokens: list[bytes]) -> bytes:
    """One of the samples with some bytes cut, doubled, moved, flipped, or tokens put in."""
    raw = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(0, 8))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.sampled_from([0, 1, 2, 3, 5, 8, 20, 100, 10**6])))
        kind = draw(st.sampled_from(["token", "token", "bytes", "cut", "double", "flip", "many"]))
        if kind == "token":
            raw[start:start] = draw(st.sampled_from(tokens))
        elif kind == "bytes":
            raw[start:end] = draw(st.binary(max_size=4))
        elif kind == "cut":
            del raw[start:end]
        elif kind == "double":
            raw[end:end] = raw[start:end]
        elif kind == "many":
            raw[start:start] = draw(st.sampled_from(tokens)) * draw(
                st.sampled_from([2, 10, 1000, 5000])
            )
        elif start < len(raw):
            raw[start] ^= 1 << draw(st.integers(0, 7))
    return bytes(raw[:1_500_000])


def json_values(leaves: int = 12) -> st.SearchStrategy:
    """Anything that JSON or YAML can hold, odd numbers and texts included."""
    odd = [0, -1, 2**31, 2**63, 10**400, 1e308, float("nan"), float("inf"), -0.0, 1e-320]
    odd += ["", "null", "nan", "1e5", "../x", "/etc/passwd", "a\0b", "\ud800"]
    odd += ["$(id)", "-x", "x" * 5000, "~nobody", "\u2028", "\u200b"]
    scalars = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=20)
        | st.sampled_from(odd)
    )
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
        ),
        max_leaves=leaves,
    )


def _in_time(check: Callable) -> Callable:
    def hangs(signum, frame):
        raise TimeoutError(f"did not end within {HANG} s")

    def timed(value):
        before = signal.signal(signal.SIGPROF, hangs)
        signal.setitimer(signal.ITIMER_PROF, HANG)  # of this process: others may be busy
        try:
            check(value)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)

    return timed
