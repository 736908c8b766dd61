"""LoRALoader: tokenizer and causal language model, in 4 bits with LoRA adapters or without."""

import copy
import json
import logging
from functools import cached_property
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from yoyak.config.model_config import ModelConfig
from yoyak.errors import UserError, one_line
from yoyak.models.architecture import Decoder, check_targets, find_decoder, find_targets
from yoyak.models.chat_tokens import add_chat_tokens, set_padding
from yoyak.models.checkpoints import Checkpoint, hub_error, reach, resolve_checkpoint
from yoyak.models.embedding_rows import keep_head_bias, make_room, said, trained_rows
from yoyak.models.end_tokens import named_end_ids
from yoyak.models.gguf import plain_checkpoint
from yoyak.models.nf4 import keep_cpu_weights_unpacked, nf4_config, plain_weights

log = logging.getLogger(__name__)
DTYPES = {name: getattr(torch, name) for name in ("bfloat16", "float16", "float32")}
LOADED_HOW = ("is_local", "local_files_only")


class LoRALoader:
    """Loads what a model config (yoyak.config.load_config) describes.

    Args:
        config: effective model config; the keys `model` and `lora` are read.
        device: where the weights go.
        base_weights: "nf4" keeps the 4-bit weights and dequantises in every product;
            "dequantized" does it once at load. Both compute with the same NF4-rounded values.
        compute_dtype: torch's name of another type, where the device lacks that of `model.dtype`.
    """

    def __init__(
        self,
        config: ModelConfig,
        device: str = "cpu",
        base_weights: str = "nf4",
        compute_dtype: str | None = None,
    ):
        self.model_config = config.model
        self.lora_config = config.lora
        self.device = torch.device(device)
        self.base_weights = base_weights
        self.dtype = DTYPES[compute_dtype or self.model_config.compute_dtype]
        found = reach(resolve_checkpoint(self.model_config), self.model_config)
        self.checkpoint: Checkpoint = plain_checkpoint(found, self.model_config)
        self.new_token_ids: list[int] = []  # added or without a row: they have to be trained
        self.rowless: dict[int, str] = {}

    @cached_property
    def decoder(self) -> Decoder:
        """The causal language model that the checkpoint holds, from its config alone.

        Raises UserError when it holds none or the config cannot be had.
        """
        return find_decoder(self.checkpoint, self.model_config)

    def target_modules(self) -> list[str] | str:
        """The projections that get adapters, `auto` resolved; UserError for one that is not there.

        No weights are loaded.
        """
        targets = self.lora_config.target_modules
        if targets == "auto":
            targets = find_targets(self.decoder.empty)
        elif targets != "all-linear":
            check_targets(self.decoder.empty, targets)
        return targets

    def load_tokenizer(self):
        """The checkpoint's tokenizer with left padding and, where it lacks one, a chat template.

        Its `named_end_ids` are the end tokens that the checkpoint's own files name.
        Raises UserError when it cannot be had or read.
        """
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                self.checkpoint.name, trust_remote_code=False, **self.checkpoint.kwargs
            )
        except Exception as error:
            raise hub_error(self.model_config, error) from error
        self.new_token_ids = add_chat_tokens(tokenizer, self.model_config.chat_template)
        return self._ready(tokenizer)

    def _ready(self, tokenizer):
        set_padding(tokenizer)
        tokenizer.named_end_ids = named_end_ids(self.checkpoint, self.model_config, tokenizer)
        return tokenizer

    def load_for_training(self, seed: int):
        """Base model with fresh adapters (or, without LoRA, all weights trainable).

        Returns:
            (model, tokenizer); the model has transformers' own attention.
        """
        tokenizer = self.load_tokenizer()
        targets = self.target_modules() if self.lora_config.use_lora else None
        model = self._load_base(tokenizer)
        model.config.use_cache = False
        if self.rowless:
            log.info("%s: they are trained and saved with the model", said(self.rowless))
        torch.manual_seed(seed)  # the adapters, whatever was drawn while loading
        if targets:
            model = self._add_adapters(model, targets)
            log.info("adapters on %s", ", ".join(adapted_modules(model)))
        if self.decoder.loading:
            log.info("%s is multimodal: only its text model is used", self.checkpoint.name)
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
                log.warning("%s: untrained, they mean nothing to the model yet", said(self.rowless))
            return model, tokenizer
        adapter = Path(adapter)
        if not (adapter / "adapter_config.json").is_file():
            return self._load_whole(adapter)
        tokenizer = self._ready(_saved_tokenizer(adapter))
        model = _with_adapter(self._load_base(tokenizer), adapter)
        if self._dequantized or not self.lora_config.use_qlora:
            model = model.merge_and_unload().to(self.dtype)
        return model.eval(), tokenizer

    def _load_whole(self, folder: Path):
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder}: holds neither an adapter nor a model; name a final_model/")
        whole = self.model_config.model_copy(update={"checkpoint": str(folder), "use_qlora": False})
        loader = LoRALoader(ModelConfig(model=whole, lora=self.lora_config), str(self.device))
        loader.dtype = self.dtype
        return loader.load_for_generation()

    @property
    def _dequantized(self) -> bool:
        return self.lora_config.use_qlora and self.base_weights == "dequantized"

    def _load_base(self, tokenizer):
        decoder, quantization = self.decoder, {}
        if self.lora_config.use_qlora:
            quantization["quantization_config"] = nf4_config(
                decoder.empty, self.dtype, self.lora_config.double_quant
            )
        try:
            model, info = AutoModelForCausalLM.from_pretrained(
                self.checkpoint.name,
                dtype=self.dtype,
                device_map={"": self.device},
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                **self.checkpoint.kwargs,
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
        self.rowless = make_room(model, tokenizer)
        self.new_token_ids = sorted({*self.new_token_ids, *self.rowless})
        if self._dequantized:
            model = plain_weights(model.dequantize(dtype=self.dtype))
        keep_cpu_weights_unpacked(model)
        return model

    def _add_adapters(self, model, targets: list[str] | str):
        from peft import LoraConfig, get_peft_model

        for parameter in model.parameters():
            parameter.requires_grad_(False)
        settings = LoraConfig(
            r=self.lora_config.r,
            lora_alpha=self.lora_config.alpha,
            lora_dropout=self.lora_config.dropout,
            target_modules=targets,
            bias="none",
            task_type="CAUSAL_LM",
            trainable_token_indices=trained_rows(model, self.new_token_ids),
        )
        try:
            adapted = get_peft_model(model, settings)
        except ValueError as error:  # a module that PEFT has no adapter for, or not with dropout
            raise UserError(f"lora.target_modules: {one_line(error)[:200]}; write auto") from error
        keep_head_bias(adapted)
        # As the config says it, not as a path of this machine.
        adapted.peft_config["default"].base_model_name_or_path = self.model_config.checkpoint
        return adapted


def adapted_modules(model) -> list[str] | None:
    """The projections that have adapters, as PEFT names them; None without adapters."""
    if not hasattr(model, "peft_config"):
        return None
    return sorted(model.peft_config["default"].target_modules)


def load_lora_model_and_tokenizer(config: ModelConfig, seed: int = 42, device: str = "cpu"):
    """Model with adapters and its tokenizer, ready for `create_llm_trainer`."""
    return LoRALoader(config, device=device).load_for_training(seed)


def save_trained(model, tokenizer, folder: Path) -> None:
    """Save adapter (or whole model) and tokenizer, byte-stable across runs.

    PEFT keeps `target_modules` in a set, whose order changes from process to process; the tokenizer
    notes how it was loaded; safetensors writes files that only their owner may read.
    """
    # The rows of added tokens are the adapter's own (trainable_token_indices): no whole embedding.
    rows_only = {"save_embedding_layers": False} if hasattr(model, "peft_config") else {}
    model.save_pretrained(folder, **rows_only)
    tokenizer.save_pretrained(folder)
    for file in Path(folder).glob("adapter_config.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        for key, value in content.items():
            if isinstance(value, list) and all(isinstance(item, str) for item in value):
                content[key] = sorted(value)
        file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for file in Path(folder).glob("tokenizer_config.json"):
        content = json.loads(file.read_text(encoding="utf-8"))
        kept = {key: value for key, value in content.items() if key not in LOADED_HOW}
        text = json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False)
        file.write_text(text + "\n", encoding="utf-8")
    for file in Path(folder).glob("*.safetensors"):
        file.chmod(0o644)
    (Path(folder) / "README.md").unlink(missing_ok=True)  # PEFT's empty card; ours comes later


def _saved_tokenizer(adapter: Path):
    try:
        tokenizer = AutoTokenizer.from_pretrained(adapter, trust_remote_code=False)
    except Exception as error:
        raise UserError(
            f"{adapter}: its tokenizer cannot be read ({one_line(error)[:200]})"
        ) from error
    return tokenizer


def _with_adapter(model, adapter: Path):
    """The model with a saved adapter beside it; UserError for pickled, damaged, foreign weights."""
    from peft import PeftModel

    if not (adapter / "adapter_model.safetensors").is_file():
        raise UserError(
            f"{adapter}: has no adapter_model.safetensors (pickled weights can run code when read "
            "and are refused); train it again or convert it"
        )
    try:
        adapted = PeftModel.from_pretrained(model, adapter)
    except Exception as error:
        raise UserError(
            f"{adapter}: the adapter is damaged or belongs to another model "
            f"({one_line(error)[:200]}); train it again"
        ) from error
    keep_head_bias(adapted)
    return adapted
