"""Devices and disks that fail a training: one line, then the same result."""

import os
import re
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import train_llm
from small_disk import ended, on_small_disk

from yoyak.errors import PROJECT_ROOT, is_out_of_memory, machine_fault, run_script
from yoyak.training import packed_trainer
from yoyak.training.interruption import EXIT_CODE

CELL = ["--experiment", "tiny_llama", "--debug", "--output-dir", "out"]
ADAPTER = "out/final_model/adapter_model.safetensors"


@pytest.fixture
def training(tmp_path, monkeypatch):
    """The real train_llm.py of a debug cell in this process, with a checkpoint after each step."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train_llm.py", *CELL])
    effective_config = train_llm.effective_config

    def saving_often(*arguments):
        config = effective_config(*arguments)
        config.execution.checkpoint_minutes = 0
        return config

    monkeypatch.setattr(train_llm, "effective_config", saving_often)
    return tmp_path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Bytes of the adapter that an undisturbed training makes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    command = [sys.executable, str(PROJECT_ROOT / "workflow/scripts/train_llm.py"), *CELL]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / ADAPTER).read_bytes()


def fail_in_the_forward(monkeypatch, error: Exception, at_call: int) -> None:
    forward, calls = packed_trainer.batch_loss, []

    def failing(*arguments, **options):
        calls.append(1)
        if len(calls) == at_call:
            raise error
        return forward(*arguments, **options)

    monkeypatch.setattr(packed_trainer, "batch_loss", failing)


def leave(capsys) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        run_script(train_llm.main)
    return left.value.code, capsys.readouterr().err


def test_a_lost_gpu_is_one_line_and_the_same_command_goes_on(
    training, undisturbed, monkeypatch, capsys, caplog
):
    lost = torch.AcceleratorError("CUDA error: device unavailable\nCompile with TORCH_USE_CUDA_DSA")
    with monkeypatch.context() as broken:
        fail_in_the_forward(broken, lost, at_call=4)
        code, said = leave(capsys)
    assert code == EXIT_CODE == 75
    (line,) = (line for line in said.splitlines() if line.startswith("error:"))
    assert "the GPU failed (CUDA error: device unavailable)" in line
    assert "run the same command again" in line and "Traceback" not in said
    assert not (training / "out" / "final_model").exists()
    assert not (training / "out" / "run.json").exists()
    caplog.set_level("INFO")
    train_llm.main()
    assert "resuming from step 3" in caplog.text
    assert (training / ADAPTER).read_bytes() == undisturbed


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be reported"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
    MemoryError(),
]


def test_every_way_to_run_out_of_memory_is_known():
    assert all(is_out_of_memory(error) for error in OUT_OF_MEMORY)
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access"))
    assert not is_out_of_memory(ValueError("out of memory"))
    assert machine_fault(ValueError("CUDA error")) is None


def test_memory_that_runs_out_in_the_forward_leaves_a_smaller_plan(
    training, monkeypatch, capsys, caplog
):
    def smaller(plan, *_, **__):
        return replace(plan, token_budget=plan.token_budget // 3)

    monkeypatch.setattr("yoyak.training.out_of_memory.next_smaller", smaller)
    caplog.set_level("INFO")
    with monkeypatch.context() as broken:
        fail_in_the_forward(broken, OUT_OF_MEMORY[1], at_call=4)
        code, said = leave(capsys)
    assert code == EXIT_CODE and "Traceback" not in said
    assert "it resumes from the last checkpoint with a smaller plan" in caplog.text
    assert not (training / "out" / "final_model").exists()
    (smaller_plan,) = training.rglob(".work/*/smaller_plan.json")
    assert (smaller_plan.parent / "checkpoint-3").is_dir()


def test_a_loss_that_is_no_number_leaves_nothing(training, monkeypatch, capsys):
    forward = packed_trainer.batch_loss
    monkeypatch.setattr(
        packed_trainer, "batch_loss", lambda *a, **k: forward(*a, **k) * float("nan")
    )
    code, said = leave(capsys)
    (line,) = (line for line in said.splitlines() if line.startswith("error:"))
    assert code == 2 and "the loss became nan at step 1" in line and "lower training." in line
    assert not (training / "out" / "final_model").exists()


def test_real_memory_limit_on_the_cpu(training, undisturbed):
    """The process may not grow any more once it trains: the kernel refuses it memory."""
    command = [sys.executable, str(PROJECT_ROOT / "workflow/scripts/train_llm.py"), *CELL]
    # Every tensor asks the kernel: else what malloc holds in reserve would do for so small a model.
    direct = os.environ | {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    limited = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=direct)
    said = []
    for line in limited.stderr:
        said.append(line)
        if "execution plan" in line:
            break
    status = Path(f"/proc/{limited.pid}/status").read_text()
    size = int(re.search(r"VmSize:\s+(\d+) kB", status)[1]) * 1024
    resource.prlimit(limited.pid, resource.RLIMIT_AS, (size, size))
    said.append(limited.communicate(timeout=120)[1])
    said = "".join(said)
    (line,) = (line for line in said.splitlines() if line.startswith("error:"))
    assert limited.returncode == 2 and "out of memory" in line
    assert "Traceback" not in said.partition(line)[0]  # at its end torch itself may lack memory
    assert not (training / "out" / "final_model").exists()
    subprocess.run(command, check=True, capture_output=True)
    assert (training / ADAPTER).read_bytes() == undisturbed


def test_a_full_disk_costs_no_step(training, undisturbed):
    """2.6 MB hold a checkpoint but not the adapter beside it."""
    full, after_full, _ = on_small_disk(
        training,
        "2600k",
        f"""
        run train_llm {" ".join(CELL)}
        test ! -e out/final_model; test ! -e out/run.json
        remount size=30m
        run train_llm {" ".join(CELL)}
        test -z "$(find results -path '*checkpoint*')"
        cp -r out "$KEEP"
        """,
    )
    code, errors = ended(full, after_full)
    assert code == "2" and "Traceback" not in full
    assert errors == ["error: the disk is full; free some space and run the same command again"]
    assert "resuming from step 25" in after_full
    assert (training / "keep" / ADAPTER).read_bytes() == undisturbed
