"""Settings: typed model configs with `_base_` inheritance, and studies."""

from yoyak.config.loading import load_config
from yoyak.config.model_config import ModelConfig

__all__ = ["ModelConfig", "load_config"]
