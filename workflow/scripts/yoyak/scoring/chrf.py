"""chrF (Popović, 2015) as sacrebleu has it: F2 of character n-grams up to six, blanks left out."""

from importlib import metadata

from yoyak.errors import UserError
from yoyak.scoring.pairs import PairMetric
from yoyak.scoring.tokenizers import normalise


class Chrf(PairMetric):
    """chrF of each dialogue, whose mean is the score: `sacrebleu -m chrf --sentence-level`.

    One reference at a time, taken together as ROUGE's are: sacrebleu itself takes the best of
    several, which would put chrF's rows under another rule than those beside it, and above people,
    who meet one reference fewer. `references: max` is sacrebleu's. The chrF of a whole file, which
    adds up counts of n-grams, is no mean over dialogues and has no interval over them.
    """

    name = "chrF2"

    def __init__(self, references: str = "mean") -> None:
        super().__init__(references)
        try:
            from sacrebleu.metrics import CHRF  # here: a quarter of a second
        except ImportError:
            raise UserError(
                "the metric 'chrf' needs sacrebleu, which is not installed: pip install sacrebleu "
                "(the version is pinned in envs/requirements.txt), or take it out of metric.metrics"
            ) from None
        self._chrf = CHRF()

    def score_pair(self, reference: str, prediction: str) -> tuple[float]:
        """Its F2, 0–1; not the same the other way round."""
        found = self._chrf.sentence_score(normalise(prediction), [normalise(reference)])
        return (found.score / 100,)

    def parts(self) -> dict[str, str]:
        own = self._chrf
        return {
            "case": "lc" if own.lowercase else "mixed",
            "eff": "no" if own.eps_smoothing else "yes",
            "nc": str(own.char_order),
            "nw": str(own.word_order),
            "space": "yes" if own.whitespace else "no",
            "mean": "of-dialogues",
            "unicode": "NFC",
            "version": f"sacrebleu-{metadata.version('sacrebleu')}",
        }
