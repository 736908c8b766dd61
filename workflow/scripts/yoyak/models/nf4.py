"""4-bit base weights (NF4) by bitsandbytes, with workarounds."""

import gc
from dataclasses import dataclass

import torch
from transformers import BitsAndBytesConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from yoyak.config.lora_settings import LoraSettings
from yoyak.errors import UserError
from yoyak.models.architecture import bypassed


@dataclass(frozen=True)
class LoadedAs:
    """How a model was loaded; the plan of its training must match."""

    lora: LoraSettings
    base_weights: str
    dtype: torch.dtype


def nf4_config(empty: PreTrainedModel, dtype: torch.dtype, double_quant: bool):
    """How transformers quantises a model while it loads.

    empty: the model without weights. dtype: of the products. Raises UserError where bitsandbytes
    would quantise nothing: it knows the plain linear modules only, not the subclass of a Falcon.
    """
    head = empty.get_output_embeddings()
    inner = [part for part in empty.modules() if part is not head]
    if not any(type(part) is torch.nn.Linear or isinstance(part, Conv1D) for part in inner):
        raise UserError(
            f"lora.use_qlora: no weight of a {empty.config.model_type} can be held in 4 bits; set "
            "lora.use_qlora: false"
        )
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quant,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=_not_quantised(empty),
    )


def _not_quantised(model) -> list[str] | None:
    """The output head and what a layer reads past an NF4 module; None: transformers' own choice."""
    read = bypassed(model)
    head = [name for name, part in model.named_modules() if part is model.get_output_embeddings()]
    return head + read if read else None


def check_shapes(model, where: str) -> None:
    """UserError for 4-bit weights whose shape is not the config's: no library checks that."""
    for name, module in model.named_modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None and tuple(state.shape) != (module.out_features, module.in_features):
            raise UserError(
                f"{where}: cannot be loaded: its weights {name} have the shape "
                f"{tuple(state.shape)}, its config.json says "
                f"{(module.out_features, module.in_features)}; download both again"
            )


def plain_weights(model):
    """Forget that the weights were once 4-bit, so that merging and saving treat them as plain."""
    for name in ("is_loaded_in_4bit", "is_quantized"):
        if hasattr(model, name):
            setattr(model, name, False)
    for name in ("hf_quantizer", "quantization_method"):
        if hasattr(model, name):
            delattr(model, name)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    gc.collect()
    return model


def keep_cpu_weights_unpacked(model) -> None:
    """Stop bitsandbytes from repacking NF4 weights on the first evaluation on an AVX512 CPU.

    It does so in an evaluation-mode forward, after which every LoRA gradient is wrong.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
