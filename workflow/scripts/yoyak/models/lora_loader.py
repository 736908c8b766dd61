"""LoRALoader: load a tokenizer and a causal language model, optionally in 4 bits, with LoRA."""

import copy
import logging
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from yoyak.config.loading import chosen_adapters, overridden
from yoyak.config.lora_settings import LoraSettings
from yoyak.config.model_config import ModelConfig
from yoyak.errors import UserError
from yoyak.models.adapters import add_adapters, check_adapters
from yoyak.models.architecture import Decoder, check_targets, find_decoder, find_targets
from yoyak.models.chat_tokens import add_chat_tokens, set_padding
from yoyak.models.checkpoints import Checkpoint, fetch, hub_error, resolve_checkpoint
from yoyak.models.embedding_rows import add_missing_rows, rowless_text, trained_rows
from yoyak.models.end_tokens import named_end_ids
from yoyak.models.gguf import plain_checkpoint
from yoyak.models.nf4 import (
    LoadedAs,
    check_shapes,
    keep_cpu_weights_unpacked,
    nf4_config,
    plain_weights,
)
from yoyak.models.saving import adapted_modules, saved_tokenizer, with_adapter
from yoyak.run.devices import refuse_to_share, visible_device
from yoyak.run.planning import plan_training

log = logging.getLogger(__name__)
DTYPES = {name: getattr(torch, name) for name in ("bfloat16", "float16", "float32")}


class LoRALoader:
    """Loads what a model config (yoyak.config.load_config) describes.

    Args:
        config: effective model config; the sections `model` and `lora` are read.
        logger: for messages while loading; None: this module's.
        device: where the weights go.
        base_weights: "nf4" keeps the 4-bit weights and dequantises in every product;
            "dequantized" does it once at load. Both compute with the same NF4-rounded values.
        compute_dtype: torch's name of another type, where the device lacks that of `model.dtype`.
    """

    def __init__(
        self,
        config: ModelConfig,
        logger: logging.Logger | None = None,
        *,
        device: str = "cpu",
        base_weights: str = "nf4",
        compute_dtype: str | None = None,
    ):
        self.config = config
        self.model_config = config.model
        self.log = logger or log
        self.device = torch.device(device)
        self.base_weights = base_weights
        self._compute_dtype = compute_dtype
        self.source = resolve_checkpoint(self.model_config)
        found = fetch(self.source, self.model_config, weights=False)
        self.checkpoint: Checkpoint = plain_checkpoint(found, self.model_config)
        self.new_token_ids: list[int] = []  # added or without a row: they have to be trained
        self.rowless: dict[int, str] = {}

    @property
    def lora_config(self) -> LoraSettings:
        return self.config.lora

    @cached_property
    def dtype(self) -> torch.dtype:
        """Of the computation. A tokenizer alone needs none."""
        return DTYPES[self._compute_dtype or self.model_config.compute_dtype]

    @cached_property
    def decoder(self) -> Decoder:
        """The causal language model that the checkpoint holds, from its config alone.

        Raises UserError if it holds none or its config is not available.
        """
        return find_decoder(self.checkpoint, self.model_config)

    def target_modules(self) -> list[str] | str:
        """The projections that get adapters, `auto` resolved; UserError for a missing one and for
        a key of PEFT's that does not fit the model.

        No weights are loaded.
        """
        targets = self.lora_config.target_modules
        if targets == "auto":
            targets = find_targets(self.decoder.empty)
        elif targets != "all-linear":
            check_targets(self.decoder.empty, targets)
        if self.lora_config.peft_keys:
            check_adapters(self.decoder.empty, self.lora_config, targets)
        return targets

    def load_tokenizer(self):
        """The checkpoint's tokenizer with left padding and, where it lacks one, a chat template.

        Its `named_end_ids` are the end tokens that the checkpoint's own files name.
        Raises UserError when it cannot be had or read.
        """
        tokenizer = self._load_tokenizer(self.checkpoint)
        self.new_token_ids = add_chat_tokens(tokenizer, self.model_config.chat_template)
        return self._configure_tokenizer(tokenizer)

    def _load_tokenizer(self, checkpoint: Checkpoint):
        """A checkpoint's tokenizer as it is; UserError when it cannot be had or read."""
        try:
            return AutoTokenizer.from_pretrained(
                checkpoint.name, trust_remote_code=False, **checkpoint.kwargs
            )
        except Exception as error:
            raise hub_error(self.model_config, error) from error

    def _configure_tokenizer(self, tokenizer):
        """Left padding and truncation, and the end tokens that the checkpoint's files name."""
        set_padding(tokenizer)
        tokenizer.named_end_ids = named_end_ids(self.checkpoint, tokenizer)
        return tokenizer

    def load_model_and_tokenizer(
        self, use_lora: bool | None = None, use_qlora: bool | None = None, *, seed: int = 42
    ):
        """Base model with fresh adapters (or, without LoRA, all weights trainable).

        use_lora, use_qlora: win over the config's; None leaves it to the config.

        Returns:
            (model, tokenizer); the model has transformers' own attention, and notes in `loaded_as`
            how it was loaded.
        """
        self.config = chosen_adapters(self.config, use_lora, use_qlora)
        tokenizer = self.load_tokenizer()
        lora = self.lora_config
        targets = self.target_modules() if lora.use_lora else []  # before any weights are loaded
        model = self._load_base(tokenizer)
        model.config.use_cache = False
        if self.rowless:
            self.log.info("%s: trained and saved with the model", rowless_text(self.rowless))
        torch.manual_seed(seed)  # the adapters, whatever was drawn while loading
        if lora.use_lora:
            rows = trained_rows(model, self.new_token_ids)
            model = add_adapters(model, lora, targets, rows, self.model_config.checkpoint)
            self.log.info("adapters on %s", ", ".join(adapted_modules(model) or []))
        if self.decoder.loading:
            self.log.info("%s is multimodal: only its text model is used", self.source.name)
        model.loaded_as = LoadedAs(lora, self.base_weights, self.dtype)
        return model, tokenizer

    def load_for_generation(self, adapter: Path | None = None):
        """Plain transformers model for inference, an adapter merged into the dequantised base.

        Merging into 4-bit weights would round the adapter away, and merging into the original
        16-bit weights would not match training (peft issue 2105). With base_weights "nf4" the
        adapter stays beside the 4-bit weights. `adapter` may also be a fully trained model folder.
        """
        if adapter is None:
            tokenizer = self.load_tokenizer()
            model = self._load_base(tokenizer).eval()
            if self.rowless:
                self.log.warning("%s: untrained, they mean nothing yet", rowless_text(self.rowless))
            return model, tokenizer
        adapter = Path(adapter)
        if not (adapter / "adapter_config.json").is_file():
            return self._load_whole(adapter)
        tokenizer = self._configure_tokenizer(saved_tokenizer(adapter))
        model = with_adapter(self._load_base(tokenizer), adapter)
        if self._dequantized or not self.lora_config.use_qlora:
            model = model.merge_and_unload().to(self.dtype)
        return model.eval(), tokenizer

    def _load_whole(self, folder: Path):
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder}: holds neither an adapter nor a model; name a final_model/")
        sections = {"model": {"checkpoint": str(folder)}, "lora": {"use_qlora": False}}
        config = overridden(self.config, sections, folder)
        loader = LoRALoader(config, self.log, device=str(self.device))
        loader.dtype = self.dtype
        return loader.load_for_generation()

    @property
    def _dequantized(self) -> bool:
        return self.lora_config.use_qlora and self.base_weights == "dequantized"

    def _load_base(self, tokenizer):
        if not self.source.local:  # the weights of the very commit whose config was read
            commit = {"revision": Path(self.checkpoint.name).name}
            fetch(replace(self.source, kwargs=commit), self.model_config)
        model = self._load_causal_lm(self.checkpoint, self._create_bnb_config())
        self._add_chat_tokens(model, tokenizer)
        if self._dequantized:
            model = plain_weights(model.dequantize(dtype=self.dtype))
        keep_cpu_weights_unpacked(model)
        return model

    def _create_bnb_config(self) -> BitsAndBytesConfig | None:
        """NF4 with the products in the model's dtype; None where the weights stay as they are."""
        if not self.lora_config.use_qlora:
            return None
        return nf4_config(self.decoder.empty, self.dtype, self.lora_config.double_quant)

    def _load_causal_lm(self, checkpoint: Checkpoint, bnb_config: BitsAndBytesConfig | None):
        """A checkpoint's weights on the device; UserError when any is missing or unreadable."""
        decoder = self.decoder
        quantization = {} if bnb_config is None else {"quantization_config": bnb_config}
        try:
            model, info = AutoModelForCausalLM.from_pretrained(
                checkpoint.name,
                dtype=self.dtype,
                device_map={"": self.device},
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                **checkpoint.kwargs,
                **copy.deepcopy(decoder.loading),
                **quantization,
            )
        except Exception as error:
            raise hub_error(self.model_config, error) from error
        if decoder.loading:  # saved under the text model's own names
            model._weight_conversions = None
        if info["missing_keys"]:  # transformers would draw them at random, with a mere warning
            raise UserError(
                f"model.checkpoint '{self.model_config.checkpoint}': lacks the weights "
                f"{sorted(info['missing_keys'])[0]} ({len(info['missing_keys'])} in all); is it a "
                "whole causal language model?"
            )
        check_shapes(model, f"model.checkpoint '{self.model_config.checkpoint}'")
        return model

    def _add_chat_tokens(self, model, tokenizer) -> None:
        """Add embedding rows for new chat tokens and any other token without one."""
        self.rowless = add_missing_rows(model, tokenizer)
        self.new_token_ids = sorted({*self.new_token_ids, *self.rowless})


def load_lora_model_and_tokenizer(
    config: ModelConfig,
    use_lora: bool | None = None,
    use_qlora: bool | None = None,
    *,
    device: str | None = None,
    seed: int = 42,
    logger: logging.Logger | None = None,
):
    """Model with adapters and its tokenizer, ready for `create_llm_trainer`.

    The free memory decides how the base weights are kept.

    Args:
        config: effective model config. use_lora, use_qlora: win over it; None leaves it to it.
        device: "cpu" or "cuda:N"; None: `execution.device`, and for auto the emptiest GPU that
            this process sees, else the CPU.
        seed: of the adapters. logger: for messages while loading.

    Raises UserError if the checkpoint is not available or does not fit.
    """
    refuse_to_share(config.execution)
    config = chosen_adapters(config, use_lora, use_qlora)
    device = visible_device(device or config.execution.device)
    loader = LoRALoader(config, logger, device=device)
    training, lengths = config.training, config.tokenizer
    longest = lengths.encoder_max_len + lengths.decoder_max_len
    plan = plan_training(
        config,
        loader.decoder.shape,
        device=device,
        free_bytes=torch.cuda.mem_get_info(device)[0] if device != "cpu" else 0,
        supports_bf16=device == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False),
        longest=longest,
        batch_tokens=longest * training.batch_size * training.gradient_accumulation_steps,
        steps=training.max_steps or 1000,  # the length of the data is not known yet
    )
    loader.base_weights, loader.dtype = plan.base_weights, DTYPES[plan.compute_dtype]
    return loader.load_model_and_tokenizer(seed=seed)
