"""Load a model for generation: which weights fit the device, and how many threads to use."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from yoyak.config.model_config import ModelConfig
from yoyak.models.lora_loader import LoRALoader
from yoyak.models.quiet import silence_libraries
from yoyak.run.planning import GPU_RESERVE, UNQUANTIZED, available_threads

# Number of weights from which several threads pay. Below it, synchronisation costs more,
# and two jobs side by side slow each other down tenfold.
SHARED_FROM = 20_000_000
LEAST_ROOM = 2 * 1024**3  # bytes beside the weights for a few rows' cache and one prefill


@dataclass(frozen=True)
class LoadingPlan:
    """How a model is loaded; recorded in run.json."""

    device: str
    threads: int
    compute_dtype: str
    base_weights: str

    def as_dict(self) -> dict:
        return asdict(self)


def plan_loading(config: ModelConfig, device: str) -> LoadingPlan:
    """Choose dtype and base weights for `device` ("cpu" or "cuda:0").

    The base is dequantised once where it fits beside a few rows, otherwise it stays NF4.
    """
    execution, dtype = config.execution, config.model.compute_dtype
    cuda = device.startswith("cuda")
    if not cuda:
        dtype = "float32"
    elif dtype == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        dtype = "float16"
    shape = LoRALoader(config).decoder.shape
    threads = execution.threads
    if threads == "auto":
        threads = 1 if shape.linear_parameters < SHARED_FROM else available_threads()
    base_weights = execution.base_weights if config.lora.use_qlora else UNQUANTIZED
    if base_weights == "auto":
        base_weights = "dequantized"
        if cuda:
            # While the base is dequantised both forms are there for a moment.
            weights = shape.linear_parameters * 0.6 + shape.parameters * 2
            if weights + GPU_RESERVE + LEAST_ROOM > torch.cuda.mem_get_info()[0]:
                base_weights = "nf4"
    return LoadingPlan(
        device=device,
        threads=threads,
        compute_dtype=dtype,
        base_weights=base_weights,
    )


def load_model(config: ModelConfig, plan: LoadingPlan, adapter: Path | None = None):
    """(model, tokenizer), the adapter merged unless the base stays NF4; sets torch's threads."""
    torch.set_num_threads(plan.threads)
    silence_libraries()
    loader = LoRALoader(
        config,
        device=plan.device,
        base_weights=plan.base_weights,
        compute_dtype=plan.compute_dtype,
    )
    return loader.load_for_generation(adapter)
