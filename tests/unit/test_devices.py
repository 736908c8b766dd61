"""Which GPU is taken, beside a stand-in for NVML that shows what the test says."""

import os

import pytest
from fake_nvml import gpus

from yoyak.errors import UserError
from yoyak.run.devices import claim_device, claim_devices

A, B, C = "GPU-aaaa-1", "GPU-bbbb-2", "GPU-cccc-3"
THREE = gpus((A, 1000), (B, 80000), (C, 40000))
FOUR = gpus(*((f"GPU-{name}-{i}", 1000 * i) for i, name in enumerate("abcd")))


def claimed(wanted="auto", count=1) -> str:
    with claim_devices(wanted, count) as names:
        return os.environ["CUDA_VISIBLE_DEVICES"] if names[0] == "cuda:0" else names[0]


def test_without_a_driver_it_is_the_cpu(machine):
    assert claimed() == "cpu"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_the_emptiest_comes_first(machine):
    machine(THREE)
    assert claimed() == B
    with claim_device() as device:
        assert (device, os.environ["CUDA_VISIBLE_DEVICES"]) == ("cuda:0", B)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_the_cpu_can_be_asked_for(machine):
    machine(THREE)
    assert claimed("cpu") == "cpu"


@pytest.mark.parametrize(
    "allowed, expected",
    [
        ("0,2", C),
        ("0", A),
        (A, A),
        ("GPU-cccc", C),
        (f"{A}, {C}", C),
        ("", "cpu"),
        ("-1", "cpu"),
        ("NoDevFiles", "cpu"),
        ("7", "cpu"),
        ("MIG-11112222-3333", "MIG-11112222-3333"),
        ("MIG-GPU-aaaa-1/7/0", "MIG-GPU-aaaa-1/7/0"),
    ],
)
def test_only_visible_ones_are_taken(machine, monkeypatch, allowed, expected):
    machine(THREE)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert claimed() == expected
    assert os.environ["CUDA_VISIBLE_DEVICES"] == allowed


@pytest.mark.parametrize(
    "allowed, wanted, expected",
    [
        (None, "cuda:0", A),
        (None, "cuda:2", C),
        ("2,0", "cuda:0", C),
        ("2,0", "cuda:1", A),
        (None, "cuda", B),
    ],
)
def test_a_number_counts_as_cuda_counts(machine, monkeypatch, allowed, wanted, expected):
    machine(THREE)
    if allowed:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert claimed(wanted) == expected


@pytest.mark.parametrize("wanted", ["cuda", "cuda:0"])
def test_a_gpu_that_is_not_there_is_an_error(machine, wanted):
    with pytest.raises(UserError, match=r"execution.device: '.*' was requested.*device: auto"):
        claimed(wanted)
    machine(THREE)
    with pytest.raises(UserError, match="no such GPU"):
        claimed("cuda:3")


def test_a_driver_that_fails_is_no_cpu(machine, tmp_path):
    for fault in ("Driver/library version mismatch", None):
        machine(fault)
        assert claimed() == "cpu"  # a machine without a GPU may have a driver's libraries
        (tmp_path / "dev" / "nvidia0").touch()
        with pytest.raises(UserError, match=f"driver fails .{fault or 'NVML Shared'}.*repair it"):
            claimed()
        (tmp_path / "dev" / "nvidia0").unlink()


def test_a_gpu_that_does_not_tell_its_memory_is_taken_last(machine):
    machine(gpus(("GPU-a", None), ("GPU-b", 1)))
    with claim_device():
        assert os.environ.pop("CUDA_VISIBLE_DEVICES") == "GPU-b"
        assert claimed() == "GPU-a"
    machine([])
    assert claimed() == "cpu"


def test_more_than_there_are_is_an_error(machine):
    machine(FOUR)
    with pytest.raises(UserError, match="execution.devices: 5 GPUs were requested.*sees 4"):
        claimed("auto", 5)
    with pytest.raises(UserError, match="'cuda:1' names one GPU and execution.devices asks for 2"):
        claimed("cuda:1", 2)


def test_the_cpu_counts_for_as_many_as_are_wanted(machine):
    with claim_devices("auto", 2) as devices_, claim_devices("cpu", 2) as others:
        assert devices_ == others == ["cpu", "cpu"]


@pytest.mark.parametrize(
    "variables, shown, expected",
    [
        ({"SLURM_JOB_GPUS": "1"}, FOUR, "GPU-b-1"),
        ({"SLURM_JOB_GPUS": "0,1", "SLURM_STEP_GPUS": "0"}, FOUR, "GPU-a-0"),
        # Control groups hide the other cards: the one here is number 0 whatever SLURM calls it.
        ({"SLURM_JOB_GPUS": "3"}, FOUR[3:], "GPU-d-3"),
        ({"SLURM_JOB_GPUS": "1", "CUDA_VISIBLE_DEVICES": "2"}, FOUR, "GPU-c-2"),
    ],
)
def test_slurms_assignment_is_respected(machine, monkeypatch, variables, shown, expected):
    machine(shown)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert claimed() == expected


def test_a_gpu_that_is_cut_is_claimed_by_the_slice(machine, monkeypatch):
    slices = gpus(("MIG-1111", 1), ("MIG-2222", 2))
    machine([{"uuid": "GPU-a-0", "mig": None, "free": 9}, {"uuid": "GPU-b-1", "mig": slices}])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with claim_device():
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "MIG-2222"
        os.environ["CUDA_VISIBLE_DEVICES"] = "1"
        assert claimed() == "MIG-1111"
