"""Keys of PEFT's LoraConfig that a file may name under `lora:`, checked against PEFT's own class.

PEFT is imported only where a file names such a key: that takes seconds.
"""

import warnings
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import ConfigDict, Field, create_model

from yoyak.config.fields import Form, Number, Whole
from yoyak.config.lora_settings import LoraSettings
from yoyak.config.section import Section
from yoyak.errors import UserError, display, one_line

# Why a key of PEFT's is no key here. What PEFT adds later is let through.
SET_HERE = "is set by Yoyak itself"
OWN_LOSS = "adds a term to the loss, which only PEFT's examples compute"
BEFORE = "needs a pass over examples before the training, which Yoyak does not make"
REFUSED = {
    "lora_alpha": "is called lora.alpha here",
    "lora_dropout": "is called lora.dropout here",
    "loraplus_lr_ratio": "is called training.loraplus_lr_ratio here",
    **dict.fromkeys(
        ("task_type", "peft_type", "inference_mode", "auto_mapping", "peft_version", "revision"),
        SET_HERE,
    ),
    "base_model_name_or_path": f"{SET_HERE}, from model.checkpoint",
    "trainable_token_indices": f"{SET_HERE}: the rows of added tokens are trained",
    "ensure_weight_tying": f"{SET_HERE}: it ties what the checkpoint ties",
    "runtime_config": "only says how PEFT moves weights, which the plan of the run decides",
    "modules_to_save": "would train whole modules, which the plan's memory does not count; the "
    "rows of added tokens are trained anyway, and use_lora: false trains all weights",
    "layer_replication": "changes the model, not its adapters: make another checkpoint of it",
    "megatron_config": "is of Megatron, which Yoyak does not run",
    "megatron_core": "is of Megatron, which Yoyak does not run",
    "loftq_config": "quantises the base weights its own way; use_qlora: true makes them NF4",
    "eva_config": BEFORE,
    "corda_config": BEFORE,
    "lora_ga_config": BEFORE,
    "use_qalora": "is made for GPTQ weights, which Yoyak does not load",
    "qalora_group_size": "is made for GPTQ weights, which Yoyak does not load",
    "alora_invocation_tokens": "is computed by PEFT's own forward only, and cannot be merged",
    "arrow_config": "routes between adapters that were trained before; train one at a time",
    "velora_config": "keeps numbers that no checkpoint has, so a training could not resume",
    "monteclora_config": OWN_LOSS,
    "kasa_config": OWN_LOSS,
    "use_bdlora": "shapes adapters for servers, and PEFT passes over it beside 4-bit weights",
}
REFUSED_STARTS = {
    "loftq": REFUSED["loftq_config"],
    **dict.fromkeys(("eva", "corda", "lora_ga"), BEFORE),
}
# Narrower types than PEFT's own; or the same, since typing remembers a Union of PEFT's in the order
# in which whatever library was imported first wrote it, and the schema would differ with that.
TYPES: dict[str, Any] = {
    "init_lora_weights": bool
    | Literal["gaussian", "olora", "orthogonal", "pissa", "mica"]
    | Annotated[str, Form(r"^pissa_niter_\d{1,4}$", "pissa_niter_ with a number behind it")],
    "layers_to_transform": Annotated[list[Annotated[Whole, Field(ge=0)]], Field(min_length=1)]
    | Annotated[Whole, Field(ge=0)]
    | None,
    "exclude_modules": list[str] | str | None,
    "layers_pattern": list[str] | str | None,
    "rank_pattern": dict[str, Annotated[Whole, Field(ge=1, le=1024)]],
    "alpha_pattern": dict[str, Annotated[Number, Field(gt=0, le=100_000)]],
}


class _Strict(LoraSettings):
    model_config = ConfigDict(extra="forbid")


@cache
def peft_section() -> type[Section]:
    """The section `lora` with all keys that it may have, as the installed PEFT knows them."""
    from peft import LoraConfig

    hints, own = get_type_hints(LoraConfig), LoraSettings.model_fields
    taken: dict[str, Any] = {
        part.name: (TYPES.get(part.name, hints[part.name]), _default(part))
        for part in fields(LoraConfig)
        if part.name not in own and part.name not in REFUSED
    }
    return create_model("LoraSettings", __base__=_Strict, __doc__=LoraSettings.__doc__, **taken)


def peft_names() -> list[str]:
    """The keys of PEFT's LoraConfig that `lora:` may have beside Yoyak's own."""
    return sorted(peft_section().model_fields.keys() - LoraSettings.model_fields)


def with_peft_keys(lora: LoraSettings, source: Path | str) -> LoraSettings:
    """These settings with PEFT's keys checked, those at PEFT's defaults left out.

    Raises UserError with `source`, key and reason for a key that is none of PEFT's or refused, for
    a wrong value, for keys that PEFT or 4-bit weights do not take together, and for any where there
    are no adapters.
    """
    given = lora.peft_keys
    if not given:
        return lora
    start = given.get("init_lora_weights")
    reasons = {key: REFUSED[key] for key in given if key in REFUSED}
    if isinstance(start, str) and start in REFUSED_STARTS:
        reasons[f"init_lora_weights: {start}"] = REFUSED_STARTS[start]
    for key, reason in reasons.items():
        raise UserError(f"{display(source)}: lora.{key} {reason}")
    section = peft_section()
    whole = create_model("ModelFile", __base__=Section, lora=(section, ...))
    checked = whole.checked({"lora": lora.model_dump()}, source).lora  # type: ignore[attr-defined] # made above
    defaults = {name: section.model_fields[name].default for name in given}
    kept = {name: getattr(checked, name) for name in given}
    kept = {name: value for name, value in kept.items() if value != defaults[name]}
    if kept and not lora.use_lora:
        raise UserError(
            f"{display(source)}: lora.{next(iter(kept))} is of adapters, and lora.use_lora: false "
            "trains none; take it out, or set lora.use_lora: true"
        )
    own = {name: getattr(lora, name) for name in LoraSettings.model_fields}
    found = LoraSettings(**own, **kept)
    _check_together(found, source)
    return found


def _default(part) -> Any:
    return part.default if part.default_factory is MISSING else part.default_factory()


def _check_together(lora: LoraSettings, source: Path | str) -> None:
    """UserError for keys that exclude each other, by PEFT's own checks and for 4-bit weights."""
    start = lora.peft_keys.get("init_lora_weights")
    if lora.use_qlora and isinstance(start, str) and start != "gaussian":
        raise UserError(
            f"{display(source)}: lora.init_lora_weights: {start} reads or changes the base weights "
            "in 16 or 32 bits, and lora.use_qlora holds them in 4, where the change would be "
            "rounded away; set lora.use_qlora: false in the model file or, for all variants of a "
            "study, under its overrides"
        )
    from peft import LoraConfig

    targets = lora.target_modules if lora.target_modules != "auto" else ["q_proj"]
    try:
        with warnings.catch_warnings():  # PEFT warns of a key that it will pass over
            warnings.simplefilter("error", UserWarning)
            LoraConfig(r=lora.r, lora_alpha=lora.alpha, target_modules=targets, **lora.peft_keys)
    except (ValueError, TypeError, UserWarning) as error:
        raise UserError(f"{display(source)}: lora: {one_line(error)[:300]}") from None
