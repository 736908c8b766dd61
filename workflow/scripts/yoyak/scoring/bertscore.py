"""BERTScore (Zhang et al., 2020): every token meets the most similar one of the other text.

No weighting by rarity and no rescaling by a baseline. Own code because the package bert-score reads
pickled weights too and asks the Hub. As there, the tokens that an encoder puts around a text can be
met but do not count themselves.
"""

from collections.abc import Sequence
from importlib import metadata

import numpy as np

from yoyak.config.study_settings import BertScore as Settings
from yoyak.scoring.encoder import Encoder, encoder_hash
from yoyak.scoring.pairs import PairMetric
from yoyak.scoring.tokenizers import normalise

BATCH = 32


class BertScore(PairMetric):
    """F1 by cosines of one layer's embeddings; UserError where there is no such encoder."""

    name = "bertscore-f1"

    def __init__(self, settings: Settings, references: str = "mean") -> None:
        super().__init__(references)
        self.encoder = Encoder(settings)
        self._seen: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def score_pair(self, reference: str, prediction: str) -> tuple[float]:
        return (self.precision_recall_f1(reference, prediction)[2],)

    def precision_recall_f1(self, reference: str, prediction: str) -> tuple[float, float, float]:
        """Each at most 1; 0 where a text has no token of its own."""
        for text in (reference, prediction):
            if text not in self._seen:
                self._embed([text])
        (theirs, own_theirs), (ours, own) = self._seen[reference], self._seen[prediction]
        if not own_theirs.any() or not own.any():
            return 0.0, 0.0, 0.0
        cosines = ours @ theirs.T
        precision = float(cosines.max(axis=1)[own].mean())
        recall = float(cosines.max(axis=0)[own_theirs].mean())
        both = precision + recall
        return precision, recall, 2 * precision * recall / both if both > 0 else 0.0

    def prepare(self, texts: Sequence[str]) -> None:
        """Embed these texts in batches of like length, and forget all others."""
        self._seen = {text: self._seen[text] for text in texts if text in self._seen}
        new = sorted(dict.fromkeys(text for text in texts if text not in self._seen), key=len)
        for start in range(0, len(new), BATCH):
            self._embed(new[start : start + BATCH])

    def parts(self) -> dict[str, str]:
        return {
            "encoder": self.encoder.folder.name,
            "weights": encoder_hash(self.encoder.folder),
            "layer": str(self.encoder.layer),
            "idf": "no",
            "rescaled": "no",
            "unicode": "NFC",
            "version": f"transformers-{metadata.version('transformers')}",
        }

    def _embed(self, texts: Sequence[str]) -> None:
        found = self.encoder.embed([normalise(text).strip() for text in texts])
        self._seen.update(zip(texts, found, strict=True))
