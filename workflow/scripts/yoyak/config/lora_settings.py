"""What a model file may say of its adapters and its frozen weights."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from yoyak.config.fields import UNIQUE, ModuleName, Number, Whole
from yoyak.config.section import Section

# PEFT's keys that leave an adapter W·x + s·B·A·x.
PLAIN_LORA = {
    *("use_rslora", "init_lora_weights", "layers_to_transform", "layers_pattern"),
    *("exclude_modules", "fan_in_fan_out"),
}


class LoraSettings(Section):
    """The adapters and the frozen base weights; beside these keys any of PEFT's LoraConfig."""

    model_config = ConfigDict(extra="allow")  # checked by yoyak.config.peft_keys

    use_lora: bool = Field(True, description="train adapters; `false` trains all weights")
    use_qlora: bool = Field(
        True, description="keep the frozen weights as 4-bit NF4; needs `use_lora`"
    )
    double_quant: bool = Field(
        True, description="quantise the quantisation constants too (saves 0.4 bit a weight)"
    )
    r: Whole = Field(16, ge=1, le=1024, description="rank of the adapters")
    alpha: Number = Field(
        32,
        gt=0,
        le=100_000,
        description="scale of the adapters; their product counts `alpha / r`",
    )
    dropout: Number = Field(
        0.05, ge=0, lt=1, description="share of an adapter's inputs dropped in training, 0–1"
    )
    target_modules: (
        Literal["auto", "all-linear"] | Annotated[list[ModuleName], *UNIQUE, AfterValidator(sorted)]
    ) = Field(
        "auto",
        description="projections that get an adapter: `auto` (q_proj, k_proj, v_proj, o_proj, "
        "gate_proj, up_proj and down_proj where a model has them all, else its attention and MLP "
        "projections), `all-linear`, or a list of names",
    )

    @property
    def peft_keys(self) -> dict[str, Any]:
        """Keys of PEFT's LoraConfig that the file names beside those above."""
        return dict(self.model_extra or {})

    @property
    def dora(self) -> bool:
        return self.use_lora and bool(self.peft_keys.get("use_dora"))

    @property
    def plain(self) -> bool:
        """Whether all adapters are plain LoRA alike, as the fused layers have it."""
        keys = self.peft_keys
        return keys.keys() <= PLAIN_LORA and keys.get("init_lora_weights") != "mica"

    @property
    def changes_base(self) -> bool:
        """Whether the adapters start with a part of the base weights, which lose it (PiSSA)."""
        return str(self.peft_keys.get("init_lora_weights")).startswith(("pissa", "olora"))

    @property
    def largest_rank(self) -> int:
        return max([self.r, *self.peft_keys.get("rank_pattern", {}).values()])
