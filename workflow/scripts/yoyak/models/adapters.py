"""Adapters by PEFT from a config's section `lora`: checked on an empty model, then added."""

import copy
import math
import re
import warnings
from typing import Any

import torch

from yoyak.config.lora_settings import LoraSettings
from yoyak.errors import UserError, one_line
from yoyak.models.embedding_rows import keep_head_bias


def add_adapters(
    model,
    lora: LoraSettings,
    targets: list[str] | str,
    rows: dict[str, list[int]] | None,
    checkpoint: str,
):
    """The model, frozen, with fresh adapters beside its weights.

    Args:
        targets: projections. rows: of embeddings that are trained too, see `trained_rows`.
        checkpoint: the base model's name in the adapter's config.

    A start that changes the base weights (PiSSA, OLoRA) is kept in `initial_adapter`: saving the
    trained adapter beside the untouched weights needs it.
    """
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    adapted = _adapted(model, lora, targets, trainable_token_indices=rows)
    keep_head_bias(adapted)
    # As written in the config, not as a path of this machine.
    adapted.peft_config["default"].base_model_name_or_path = checkpoint
    if lora.changes_base:
        adapted.initial_adapter = _factors(adapted)
    return adapted


def check_adapters(empty, lora: LoraSettings, targets: list[str] | str) -> None:
    """UserError where PEFT's keys do not fit a model, before its weights are loaded.

    Args:
        empty: the model on the meta device.
    """
    from peft.tuners.lora import LoraLayer
    from peft.utils.other import get_pattern_key

    keys = lora.peft_keys
    plain = {key: value for key, value in keys.items() if key != "init_lora_weights"}
    shapes_only = LoraSettings(**lora.model_dump(exclude=set(keys)), **plain)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters is an error here
        model = _adapted(copy.deepcopy(empty), shapes_only, targets, low_cpu_mem_usage=True)
    found = {n: part for n, part in model.named_modules() if isinstance(part, LoraLayer)}
    for key in ("rank_pattern", "alpha_pattern"):
        for pattern in keys.get(key, {}):
            if not any(get_pattern_key([pattern], name) == pattern for name in found):
                raise UserError(f"lora.{key}: '{pattern}' matches no projection with an adapter")
    layers = keys.get("layers_to_transform") or []
    for layer in [layers] if isinstance(layers, int) else layers:
        if not any(f".{layer}." in name for name in found):
            raise UserError(f"lora.layers_to_transform: found {layer}, the model has no such layer")
    for name, part in found.items():
        _check_layer(name.rpartition(".")[2], part, keys)


def _check_layer(name: str, part, keys: dict[str, Any]) -> None:
    """UserError for a rank or a bias that PEFT would fail on later, or silently cut."""
    start, rank, most = keys.get("init_lora_weights"), part.r["default"], 0
    if start == "orthogonal" and rank % 2:
        raise UserError(f"lora.r: found {rank}, init_lora_weights: orthogonal needs an even rank")
    if isinstance(start, str) and start not in ("gaussian", "orthogonal"):
        most = min(part.in_features, part.out_features)
    if 0 < most < rank:
        raise UserError(
            f"lora.r: found {rank}, but {name} has only {most} singular vectors to start from "
            f"(init_lora_weights: {start}); make it smaller"
        )
    if keys.get("lora_bias") and getattr(part.get_base_layer(), "bias", None) is None:
        raise UserError(
            f"lora.lora_bias: {name} has no bias that this one could be merged into; take the key "
            "out"
        )


def _adapted(model, lora: LoraSettings, targets, low_cpu_mem_usage=False, **others: Any):
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
        **lora.peft_keys,
        **others,
    )
    try:
        return get_peft_model(model, settings, low_cpu_mem_usage=low_cpu_mem_usage)
    except (ValueError, re.error) as error:  # no adapter for a module, or not with these keys
        cure = "take out keys of PEFT's" if lora.peft_keys else "write auto"
        place = "lora" if lora.peft_keys else "lora.target_modules"
        raise UserError(f"{place}: {one_line(error)[:200]}; {cure}") from error


def _factors(model) -> dict[str, torch.Tensor]:
    """A and B of all adapters, copied, by their names in a saved adapter."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {
        name: part.detach().cpu().clone()
        for name, part in state.items()
        if ".lora_A." in name or ".lora_B." in name
    }


def beside_untouched_weights(
    state: dict[str, torch.Tensor], initial: dict[str, torch.Tensor], settings: dict
) -> tuple[dict[str, torch.Tensor], dict]:
    """A trained PiSSA or OLoRA adapter as plain LoRA of twice the rank on the checkpoint's weights.

    W' + s·B·A = W + s·(B·A − B₀·A₀), since the base weights were changed to W' = W − s·B₀·A₀. As
    PEFT's `path_initial_model_for_weight_conversion`, which loses trained embedding rows.

    Args:
        state: the trained adapter. initial: A₀ and B₀. settings: of adapter_config.json.
    """
    state, settings = dict(state), dict(settings)
    for name, start in initial.items():
        first = ".lora_A." in name
        parts = [state[name], start if first else -start]
        state[name] = torch.cat(parts, dim=0 if first else 1).contiguous()
    wider = math.sqrt(2) if settings["use_rslora"] else 2  # s = alpha / √r or alpha / r
    settings |= {"r": 2 * settings["r"], "lora_alpha": wider * settings["lora_alpha"]}
    settings["init_lora_weights"] = True
    for key in ("rank_pattern", "alpha_pattern"):
        settings[key] = {name: 2 * value for name, value in (settings[key] or {}).items()}
    return state, settings
