"""The GPUs that a plan can be asked for by name."""

import pytest

from yoyak.errors import UserError
from yoyak.run.gpus import GPUS, described_gpu, gpu_named
from yoyak.run.memory import GIB


@pytest.mark.parametrize(
    "said, meant",
    [
        *(("h200", "H200"), ("4090", "RTX 4090"), ("NVIDIA GeForce RTX 3090", "RTX 3090")),
        *(("NVIDIA A100-SXM4-80GB", "A100 80GB"), ("Tesla T4", "T4"), ("a10", "A10")),
        *(("rtx3060", "RTX 3060 12GB"), ("NVIDIA L40S", "L40S"), ("A6000", "RTX A6000")),
    ],
)
def test_a_gpu_is_known_by_its_names(said, meant):
    assert gpu_named(said) is GPUS[meant]


def test_another_name_lists_what_could_be_meant():
    with pytest.raises(UserError, match="could be A100 40GB, A100 80GB; describe"):
        gpu_named("A100")
    with pytest.raises(UserError, match="'H300': not known; known are RTX 3060.*H200"):
        gpu_named("H300")
    with pytest.raises(UserError, match="not known"):
        gpu_named("")


def test_gpus_from_8_to_141_gb_say_where_their_figures_are_from():
    sizes = [gpu.free_bytes / GIB for gpu in GPUS.values()]
    assert 7 < min(sizes) < 8 and 130 < max(sizes) < 141
    assert "measured" in GPUS["H200"].words() and "data sheet" in GPUS["L4"].words()
    assert not GPUS["T4"].bf16 and GPUS["A10"].bf16
    assert "assumed" in described_gpu(8, None).words() and "given" in described_gpu(8, 90).words()
