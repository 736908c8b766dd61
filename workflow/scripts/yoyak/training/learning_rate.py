"""`training.learning_rate: auto`: a rate for LoRA by the model's family and hidden size.

The formula is that of Thinking Machines: rate = 5e-5 × 10 × (2000 / hidden size) ** exponent. LoRA
takes ten times the rate that training all weights does (Schulman and Thinking Machines Lab, 2025,
"LoRA Without Regret", https://thinkingmachines.ai/blog/lora/); the exponents were fitted for two
families, 0.781 for Llama and 0.0775 for Qwen (tinker-docs.thinkingmachines.ai, "Supervised learning
hyperparameters"; `get_lr` of tinker-cookbook until it took a table of measured rates instead). It
is meant for alpha / rank as the scale of adapters with alpha 32 on all layers, and does not depend
on the rank.
"""

import logging

from yoyak.config.model_config import ModelConfig
from yoyak.config.training_settings import TrainingSettings
from yoyak.run.memory import ModelShape

log = logging.getLogger(__name__)

ALL_WEIGHTS, FOR_LORA, USUAL_SIZE = 5e-5, 10, 2000
EXPONENTS = {"llama": 0.781, "qwen": 0.0775}  # by the beginning of model_type


def lora_rate(family: str, hidden: int) -> tuple[float, str]:
    """The rate, rounded to three digits, and how it came about in words.

    A family without a fitted exponent gets none: its rate is that of hidden size 2000.

    Args:
        family: model_type of transformers, such as "qwen3". hidden: size of the hidden states.
    """
    known = next((name for name in EXPONENTS if family.startswith(name)), None)
    exponent = EXPONENTS[known] if known else 0.0
    rate = float(f"{ALL_WEIGHTS * FOR_LORA * (USUAL_SIZE / hidden) ** exponent:.2e}")
    fitted = f"exponent of {known}" if known else f"no exponent is known for {family}"
    formula = f"{ALL_WEIGHTS:.0e} × {FOR_LORA} × ({USUAL_SIZE} / {hidden}) ** {exponent:g}"
    return rate, f"{formula}, {fitted}"


def with_peak_rate(config: ModelConfig, model) -> TrainingSettings:
    """What a config says of the model's training, a number in place of `auto`; the log says why."""
    if config.training.learning_rate != "auto":
        return config.training
    hidden = ModelShape.from_config(model.config).hidden
    rate, why = lora_rate(model.config.model_type, hidden)
    log.info("training.learning_rate: auto is %.3g (%s)", rate, why)
    return config.training.model_copy(update={"learning_rate": rate})
