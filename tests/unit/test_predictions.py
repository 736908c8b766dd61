"""generate.py's work: streaming, going on after a kill, plans kept; and merging an adapter."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_generation import MAX_NEW, STOPS, one_thread, tiny_model  # noqa: F401

from yoyak.evaluation.decoding import DecodingSettings, Generated
from yoyak.evaluation.generation import GenerationPlan, OutOfMemory, generate
from yoyak.evaluation.loading import LoadingPlan
from yoyak.evaluation.predictions import RowFile, cut_chunks, generate_resumable
from yoyak.evaluation.resumable import Session

PROMPTS = [[(7 * i + j) % 256 for j in range(1 + (i * 13) % 40)] for i in range(24)]
LOADING = LoadingPlan(device="cpu", threads=1, compute_dtype="float32", base_weights="dequantized")
GREEDY = DecodingSettings(max_new_tokens=MAX_NEW)

# The same generation as `whole` in a process of its own, slowly enough to be killed in mid-way.
WORKER = """
import sys, time
from pathlib import Path
import torch
from test_generation import STOPS, tiny_model
from test_predictions import GREEDY, LOADING, PROMPTS
from yoyak.evaluation.resumable import Session

torch.set_num_threads(1)
session = Session(Path(sys.argv[1]), LOADING)
session.prepare(tiny_model("llama"), PROMPTS, GREEDY, STOPS, 3)
session.generate(PROMPTS, Path(sys.argv[1]) / "dev.jsonl", lambda *_: time.sleep(0.2))
"""


@pytest.fixture(scope="module")
def whole():
    return generate(tiny_model("llama"), PROMPTS, stop_token_ids=STOPS, decoding=GREEDY)


def session_in(folder: Path, batch: int = 3) -> Session:
    session = Session(folder, LOADING)
    session.prepare(tiny_model("llama"), PROMPTS, GREEDY, STOPS, batch)
    return session


def test_killed_generation_goes_on_and_gives_the_same(tmp_path, whole):
    rows = tmp_path / "dev.jsonl"
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1] / "workflow" / "scripts")])
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path)], env={**os.environ, "PYTHONPATH": path}
    )
    while not (rows.exists() and rows.read_text().count("\n") >= 5):
        assert worker.poll() is None, "the worker ended before it could be killed"
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    with open(rows, "a") as file:
        file.write('{"index": 3, "tok')  # a line that the kill cut short
    session = session_in(tmp_path, batch=20)  # the stored plan is reused, whatever is asked now
    seen = []
    results = session.generate(PROMPTS, rows, lambda index, _: seen.append(index))
    assert results == whole
    assert session.plan.slots == 3
    assert 5 <= session.resumed_rows < len(PROMPTS)
    assert sorted(seen) == list(range(len(PROMPTS)))
    again = session_in(tmp_path)
    assert again.generate(PROMPTS, rows, lambda *_: None) == whole
    assert again.resumed_rows == len(PROMPTS) and again.fresh_tokens == 0


@pytest.mark.parametrize("keep_parts", [True, False])
def test_only_whole_chunks_are_kept_in_16_bits(tmp_path, keep_parts):
    file = RowFile(tmp_path / "rows.jsonl")
    chunks = cut_chunks(PROMPTS, 8)
    finished = [*chunks[0], *chunks[1][:3]]
    for index in finished:
        file.append(index, Generated([index], 2, "stop"))
    asked = []

    def run(prompts, on_row):
        asked.append(len(prompts))
        for place in reversed(range(len(prompts))):
            on_row(place, Generated([PROMPTS.index(prompts[place])], 2, "stop"))

    results = generate_resumable(
        run, PROMPTS, file, rows_per_chunk=8, keep_parts=keep_parts, on_row=lambda *_: None
    )
    assert [row.tokens for row in results] == [[index] for index in range(len(PROMPTS))]
    assert asked == ([5, 8] if keep_parts else [8, 8])
    assert sorted(file.read()) == list(range(len(PROMPTS)))


def test_chunks_are_fixed_and_longest_first():
    chunks = cut_chunks(PROMPTS, 10)
    assert [len(chunk) for chunk in chunks] == [10, 10, 4]
    lengths = [len(PROMPTS[index]) for chunk in chunks for index in chunk]
    assert lengths == sorted(lengths, reverse=True)


def test_out_of_memory_halves_the_rows_and_is_recorded(tmp_path, whole):
    session = session_in(tmp_path, batch=4)
    first = session.generator

    def too_much(prompts, on_row):
        raise OutOfMemory("no")

    first.run = too_much
    assert session.generate(PROMPTS, tmp_path / "dev.jsonl", lambda *_: None) == whole
    assert session.record()["slots"] == 2 and session.record()["reduced_from"] == 4
    assert session_in(tmp_path).record() == session.record()


def test_another_device_starts_over(tmp_path):
    session_in(tmp_path)
    (tmp_path / "dev.jsonl").write_text("{}\n")
    other = Session(tmp_path, LoadingPlan("cuda:0", 1, "bfloat16", "nf4"))
    assert other.stored is None and not (tmp_path / "dev.jsonl").exists()


def test_plan_survives_as_json():
    plan = GenerationPlan(slots=3, capacity=10, prefill_tokens=5)
    assert GenerationPlan(**json.loads(json.dumps(plan.as_dict()))) == plan
    assert torch.get_num_threads() == 1
