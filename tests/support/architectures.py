"""The zoo of architectures.yaml: configs and checkpoint folders of tiny models of every kind."""

from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
import transformers
import yaml
from tiny_models import save_checkpoint
from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

FILE = Path(__file__).with_suffix(".yaml")
LAYER_LISTS = ("layer_types", "layers_block_type")


@dataclass(frozen=True)
class Architecture:
    """One row; the attributes are explained at the head of architectures.yaml."""

    type: str
    known: str = ""
    about: str = ""
    settings: dict = field(default_factory=dict)
    auto: str = "AutoModelForCausalLM"

    @property
    def name(self) -> str:
        return f"{self.type}, {self.about}" if self.about else self.type

    @property
    def is_known(self) -> bool:
        """Whether this release of transformers has the type."""
        return self.type in CONFIG_MAPPING

    def config(self, sizes: dict) -> PreTrainedConfig:
        """Tiny, of the true config class."""
        return tiny_config(CONFIG_MAPPING[self.type], self.settings, sizes)

    @property
    def auto_class(self) -> type:
        """What writes the checkpoint, and loads it for reference."""
        return getattr(transformers, self.auto)

    def write(self, folder: Path, sizes: dict) -> Path:
        """A checkpoint folder with random weights and the word tokenizer of tiny_models."""
        torch.manual_seed(11)
        model = self.auto_class.from_config(self.config(sizes))
        tied = getattr(model.config.get_text_config(), "tie_word_embeddings", True)
        return save_checkpoint(model, folder, embedding_spread=1 if tied else 6)


def tiny_config(cls: type, settings: dict, sizes: dict) -> PreTrainedConfig:
    """A config of this class, of its text part too where it has one."""
    names = {part.name for part in fields(cls)} | set(cls.attribute_map)
    values = {name: value for name, value in sizes.items() if name in names} | settings
    for name in LAYER_LISTS:
        if name in settings:
            values["num_hidden_layers"] = len(settings[name])
    text = settings.get("text_config")
    if text is not None:
        part = cls.sub_configs["text_config"]
        part = CONFIG_MAPPING[text["model_type"]] if part is AutoConfig else part
        values["text_config"] = tiny_config(part, text, sizes).to_dict()
    return cls(**values)


def read_zoo() -> tuple[list[Architecture], dict]:
    """All rows in the file's order, and the sizes for their `config` and `write`."""
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return [Architecture(**row) for row in content["architectures"]], content["sizes"]
