"""The decoder that a checkpoint holds, and its projections that get adapters; reads no weights."""

import copy
import logging
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)
from transformers.pytorch_utils import Conv1D

from yoyak.config.model_config import ModelSettings
from yoyak.errors import UserError, one_line
from yoyak.models.checkpoints import Checkpoint, hub_error, refuse_quantised
from yoyak.run.memory import ModelShape

log = logging.getLogger(__name__)
SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# Linear modules of a decoder layer that choose and do not project, by a part of their path.
NO_PROJECTION = ("gate", "shared_expert_gate", "indexer")
# By what else the module has that holds them: kernels of state-space mixers take all weights but
# that of in_proj, and Gemma 3n clips its coefficients in place.
BYPASSED = {
    "D": ("x_proj", "dt_proj", "out_proj"),
    "prediction_coefs": ("prediction_coefs", "correction_coefs"),
}
# Of a multimodal checkpoint's weights, as transformers 5 names them and as it used to, to the names
# of the text model alone.
TEXT_WEIGHTS = {
    r"^model\.(?:language_model|text_model)\.": "model.",
    r"^(?:language_model|text_model)\.": "",
}


@dataclass(frozen=True)
class Decoder:
    """A causal language model, known from its config.

    config: what AutoModelForCausalLM takes. loading: what `from_pretrained` needs beside the name.
    """

    config: PretrainedConfig
    loading: dict = field(default_factory=dict)

    @cached_property
    def empty(self) -> torch.nn.Module:
        """The model without weights (on the device "meta"): its modules and their sizes."""
        try:
            with torch.device("meta"):
                config = copy.deepcopy(self.config)
                return AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        except Exception as error:
            raise UserError(
                f"model.checkpoint: transformers cannot build a {self.config.model_type} of this "
                f"config.json ({one_line(error)[:200]}); choose another checkpoint"
            ) from error

    @cached_property
    def shape(self) -> ModelShape:
        """The shape that memory and time depend on: the config's, at least the modules' size."""
        shape = ModelShape.from_config(self.config)
        weights = sum(weight.numel() for weight in self.empty.parameters())
        if weights < 1.02 * shape.parameters:  # the norms are not counted there
            return shape
        return replace(shape, unquantised=shape.unquantised + weights - shape.parameters)


def find_decoder(checkpoint: Checkpoint, model: ModelSettings) -> Decoder:
    """The causal language model in a checkpoint; of a multimodal one its text model.

    Args:
        model: the config's section of that name.

    Raises:
        UserError: the config is not available, or is not of a causal language model.
    """
    try:
        config = AutoConfig.from_pretrained(
            checkpoint.name, trust_remote_code=False, **checkpoint.kwargs
        )
    except Exception as error:
        raise hub_error(model, error) from error
    where = f"model.checkpoint '{model.checkpoint}'"
    quantised = getattr(config, "quantization_config", None)
    if isinstance(quantised, dict) and "gguf_file" not in checkpoint.kwargs:
        refuse_quantised(quantised.get("quant_method"), where)
    kind = config.model_type
    if config.is_encoder_decoder:
        raise UserError(
            f"{where}: it is not a causal language model but an encoder-decoder ({kind}): choose a "
            "decoder-only one"
        )
    text = _text_config(config)
    if _looks_ahead(text):
        raise UserError(
            f"{where}: it is not a causal language model but an encoder ({kind}): choose one that "
            "generates text"
        )
    known = type(text) in MODEL_FOR_CAUSAL_LM_MAPPING
    if text is not config and not known:
        raise UserError(
            f"{where}: it is not a causal language model: transformers has no class for the text "
            f"model alone of a {kind}; choose a text-only checkpoint"
        )
    if not known:
        raise UserError(
            f"{where}: it is not a causal language model ({kind}): choose one that generates text"
        )
    if text is config:
        return Decoder(config)
    if hasattr(config, "tie_word_embeddings"):  # the whole model's word counts, not its part's
        text.tie_word_embeddings = config.tie_word_embeddings
    return Decoder(text, {"config": text, "key_mapping": TEXT_WEIGHTS})


def _text_config(config: PretrainedConfig) -> PretrainedConfig:
    """The config of the part that generates text; the config itself where it has no parts."""
    try:
        text = config.get_text_config(decoder=True)
    except ValueError:  # several parts could be meant
        return config
    return text if isinstance(text, PretrainedConfig) else config


def _looks_ahead(config: PretrainedConfig) -> bool:
    """Whether every token attends to those after it, as in an encoder (BERT, EmbeddingGemma)."""
    masked = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if masked and not getattr(config, "is_decoder", False):
        return True
    both_ways = getattr(config, "use_bidirectional_attention", None) in (True, "all")
    return both_ways or getattr(config, "is_causal", None) is False


def find_targets(model: PreTrainedModel) -> list[str]:
    """Resolve `lora.target_modules: auto` for a model: sorted names for LoraConfig.

    The seven names of a Llama where the model has all of them, otherwise every linear module of
    the decoder layers but those that choose experts or that the layer bypasses. Raises UserError
    where none is found.
    """
    linear = {name for name, part in model.named_modules() if _is_linear(part)}
    seven = set(SEVEN) if all(_matches(linear, name) for name in SEVEN) else set()
    if seven and _without_experts(model, seven) == seven:
        targets = seven
    else:
        home = _decoder_layers(model)
        wanted = {name for name in linear - set(bypassed(model)) if _projects(name, home)}
        others = {name for name, _ in model.named_modules()} - wanted
        targets = _without_experts(model, {_short(name, others) for name in wanted})
    if experts := routed_experts(model):
        log.info("no adapters on parameters of three dimensions: %s", ", ".join(experts))
    if not targets:
        raise UserError(
            f"lora.target_modules: auto finds no projection in a {model.config.model_type}; list "
            "those that shall get adapters"
        )
    return sorted(targets)


def _decoder_layers(model: torch.nn.Module) -> str:
    """Name of the list of layers that holds most weights: not that of a vision or audio tower."""
    sizes = {
        name: sum(weight.numel() for weight in part.parameters())
        for name, part in model.named_modules()
        if isinstance(part, torch.nn.ModuleList)
    }
    return max(sizes, key=sizes.__getitem__, default="")


def _projects(name: str, home: str) -> bool:
    """Whether a linear module of that name is one of attention, MLP or mixer in those layers."""
    parts = name.removeprefix(f"{home}.").split(".") if name.startswith(f"{home}.") else []
    choosing = any(part in NO_PROJECTION or "router" in part or "norm" in part for part in parts)
    return bool(parts) and not choosing


def _short(name: str, others: set[str]) -> str:
    """The shortest end of a module's name that names none of `others`: fc1, or mlp.fc1."""
    parts = name.split(".")
    for start in range(len(parts) - 1, 0, -1):
        end = ".".join(parts[start:])
        if not parts[start].isdigit() and not _matches(others, end):
            return end
    return name


def _matches(names: set[str], target: str) -> bool:
    """PEFT's own rule: the whole name or its end."""
    return any(name == target or name.endswith(f".{target}") for name in names)


def bypassed(model: torch.nn.Module) -> list[str]:
    """Linear modules whose weight the layer reads itself, past an adapter or NF4."""
    return [
        f"{name}.{child}"
        for name, part in model.named_modules()
        for mark, children in BYPASSED.items()
        if hasattr(part, mark)
        for child in children
        if hasattr(part, child)
    ]


def _without_experts(model: torch.nn.Module, targets: set[str]) -> set[str]:
    """Remove the names that PEFT takes for routed experts, which are 3-D parameters.

    It does so in mixtures that once held a module for each expert, also where a shared expert has
    projections of those names; adapters of a parameter know no dropout.
    """
    from peft import LoraConfig
    from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers

    config = LoraConfig(target_modules=sorted(targets))
    convert_peft_config_for_transformers(config, model=model, conversions=None)
    return set(config.target_modules)


def routed_experts(model: torch.nn.Module) -> list[str]:
    """Ends of the names of 3-D parameters in the decoder layers: the experts of a mixture."""
    return sorted(
        {
            ".".join(f"{name}.{key}".split(".")[-2:])
            for name, part in model.named_modules()
            if not isinstance(part, torch.nn.modules.conv._ConvNd)
            for key, weight in part.named_parameters(recurse=False)
            if weight.dim() == 3 and weight.shape[0] > 1
        }
    )


def check_targets(model: PreTrainedModel, targets: list[str]) -> None:
    """UserError where a model lacks one of the listed projections."""
    names = {name for name, part in model.named_modules() if _is_linear(part)} - {"lm_head"}
    missing = [target for target in targets if not _matches(names, target)]
    if missing:
        known = sorted({name.rsplit(".", 1)[-1] for name in names})
        raise UserError(
            f"lora.target_modules: this architecture ({model.config.model_type}) has no "
            f"'{missing[0]}'; write auto, or list some of its projections: {', '.join(known)}"
        )


def _is_linear(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear | Conv1D)
