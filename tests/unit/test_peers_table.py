"""The table of tests/benchmarks/peers: a ratio stands only where both figures are sound."""

import json
import sys

import pytest
from benchmarks.peers import side_by_side

OURS = {"tokens_per_second": 40_000.0, "peak_gb": 75.5, "loss": [11.8, 11.7]}
THEIRS = {
    "tokens_per_second": 16_000.0, "peak_gb": 44.4, "loss": 11.8,
    "attention": "xformers", "versions": {"torch": "2.11.0", "flash_attn": None},
}  # fmt: skip
PAIR = {"shape": "llama_3.2_3b", "memory": "free", "base": "nf4", "dropout": 0.05}


def test_one_table_of_two_outputs_with_the_ratio_of_the_means(tmp_path, monkeypatch, capsys):
    slower = THEIRS | {"tokens_per_second": 14_000.0, "peak_gb": 45.0}
    one = [PAIR | {"yoyak": [OURS, OURS], "unsloth": [THEIRS, slower]}]
    two = [PAIR | {"base": "bf16", "yoyak": [OURS], "unsloth": [THEIRS]}]
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for file, results in zip(files, (one, two), strict=True):
        file.write_text(json.dumps(results))
    monkeypatch.setattr(sys, "argv", ["side_by_side.py", "--show", *map(str, files)])
    side_by_side.main()
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| llama_3.2_3b | free | 0.05 | 40,000 | 75.5 | 15,000 | 45.0 | 2.67 |",
        "| llama_3.2_3b | free, bf16 base | 0.05 | 40,000 | 75.5 | 16,000 | 44.4 | 2.50 |",
        "torch 2.11.0, attention by xformers",
    ]


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({"out_of_memory": "CUDA out of memory"}, "out of memory"),
        ({"failed": "killed after 400 s"}, "killed after 400 s"),
        (THEIRS | {"loss": float("nan")}, "loss [nan]"),
    ],
)
def test_no_ratio_beside_a_run_that_failed(theirs, said):
    line = side_by_side.table([PAIR | {"yoyak": [OURS], "unsloth": [theirs]}])[2]
    assert line == f"| llama_3.2_3b | free | 0.05 | 40,000 | 75.5 | {said} |  |  |"


def test_a_trainer_that_catches_sigterm_is_killed_and_said_so(tmp_path):
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: None); time.sleep(60)"
    figures = side_by_side.measure([sys.executable, "-c", stubborn], tmp_path / "f.json", limit=1)
    assert figures == {"failed": "killed after 1 s"}
