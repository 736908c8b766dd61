"""Which training dialogue is nearest to another one: BM25 (Robertson and Zaragoza, 2009)."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

K1, B = 1.5, 0.75


def nearest(documents: Sequence[Sequence[str]], queries: Sequence[Sequence[str]]) -> np.ndarray:
    """Index of the best document for each query, both as tokens: shape (queries,).

    The first one if several are equal, for example if no token is shared.
    """
    terms: dict[str, int] = {}
    counts = _count_matrix(documents, terms).astype(float)
    lengths = counts.sum(axis=1).A1
    n, containing = len(documents), np.bincount(counts.indices, minlength=len(terms))
    rarity = np.log1p((n - containing + 0.5) / (containing + 0.5))
    damped = K1 * (1 - B + B * lengths / max(lengths.mean(), 1))
    of_rows = np.repeat(damped, np.diff(counts.indptr))
    counts.data = rarity[counts.indices] * counts.data * (K1 + 1) / (counts.data + of_rows)
    known = [[token for token in query if token in terms] for query in queries]
    return np.array((_count_matrix(known, terms) @ counts.T).todense().argmax(axis=1)).ravel()


def _count_matrix(texts: Sequence[Sequence[str]], terms: dict[str, int]):
    """How often each text has each term, sparse (texts, terms); new terms are added to `terms`."""
    from scipy import sparse  # here: a second that `--help` need not wait

    counted = [Counter(text) for text in texts]
    columns = [terms.setdefault(token, len(terms)) for of_text in counted for token in of_text]
    values = [count for of_text in counted for count in of_text.values()]
    ends = np.cumsum([0, *map(len, counted)])
    return sparse.csr_matrix((values, columns, ends), shape=(len(texts), len(terms)))
