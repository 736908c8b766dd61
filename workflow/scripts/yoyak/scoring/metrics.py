"""The metrics that a study may ask for: names, and how each is opened."""

from collections.abc import Callable

from yoyak.config.study_settings import Metric
from yoyak.scoring.bertscore import BertScore
from yoyak.scoring.chrf import Chrf
from yoyak.scoring.pairs import PairMetric
from yoyak.scoring.rouge import Rouge

# By the names of `metric.metrics` in a study, without ROUGE, which has a score for each tokenizer.
OTHERS: dict[str, Callable[[Metric], PairMetric]] = {
    "chrf": lambda settings: Chrf(settings.references),
    "bertscore": lambda settings: BertScore(settings.bertscore, settings.references),
}


def open_metrics(settings: Metric) -> dict[str, PairMetric]:
    """Every score of a study by its name: ROUGE's by their tokenizers, then the other metrics.

    Raises UserError before anything is scored, where a package or an encoder is missing.
    """
    found: dict[str, PairMetric] = {
        name: Rouge(name, settings.references) for name in settings.tokenizers
    }
    others = [name for name in settings.metrics if name in OTHERS]
    return found | {name: OTHERS[name](settings) for name in others}
