"""Models of random weights in the true shapes, with fresh adapters."""

import gc
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

import torch  # noqa: E402
from peft import LoraConfig, get_peft_model  # noqa: E402
from shapes import SHAPES  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from yoyak.config.loading import load_config  # noqa: E402
from yoyak.models.architecture import find_targets  # noqa: E402

SHIPPED = {file.stem for file in (ROOT / "config" / "models").glob("*.yaml")}


def build(
    name: str, base_weights: str, attention: str, dora: bool = False, dropout: float | None = None
):
    """A model of that shape with random weights and fresh adapters, made on the GPU."""
    config = load_config(name if name in SHIPPED else "llama_3.2_3b")
    dtype = getattr(torch, config.model.compute_dtype)
    torch.set_default_dtype(dtype)
    try:
        with torch.device("cuda"):
            model = AutoModelForCausalLM.from_config(SHAPES[name], attn_implementation=attention)
    finally:
        torch.set_default_dtype(torch.float32)
    model.config.use_cache = False
    if base_weights == "nf4":
        quantise(model, dtype)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    lora = config.lora
    dropout = lora.dropout if dropout is None else dropout
    adapters = LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=dropout,
        target_modules=find_targets(model), task_type="CAUSAL_LM", use_dora=dora,
    )  # fmt: skip
    return get_peft_model(model, adapters), config


def quantise(model, dtype) -> None:
    """Every projection to NF4 with double quantisation, as a load in 4 bits leaves it."""
    import bitsandbytes as bnb

    for layer in model.model.layers:
        for parent in (layer.self_attn, layer.mlp):
            for name, linear in list(parent.named_children()):
                if type(linear) is not torch.nn.Linear:
                    continue
                new = bnb.nn.Linear4bit(
                    linear.in_features, linear.out_features, bias=False, compute_dtype=dtype,
                    compress_statistics=True, quant_type="nf4", device="meta",
                )  # fmt: skip
                weight = linear.weight.data
                new.weight = bnb.nn.Params4bit(
                    weight, requires_grad=False, compress_statistics=True, quant_type="nf4",
                    blocksize=64, module=new,
                ).to("cuda")  # fmt: skip
                setattr(parent, name, new)
    model.is_loaded_in_4bit = True
    gc.collect()
    torch.cuda.empty_cache()
