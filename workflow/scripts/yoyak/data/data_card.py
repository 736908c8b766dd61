"""Statistics of prepared splits, for data_card.json."""

import math
from collections import Counter
from collections.abc import Sequence

from yoyak.data.cleaning import RULES
from yoyak.data.dialogues import Dialogue
from yoyak.data.near_duplicates import NEAR_DUPLICATE_JACCARD, NearDuplicates

TOPICS_SHOWN = 30
HISTOGRAM_BINS = 20
_PERCENTILES = (5, 25, 50, 75, 95)


def describe_split(rows: Sequence[Dialogue]) -> dict:
    """Counts and distributions of one split; lengths in characters, speaker tags included."""
    references = [len(row.summaries) for row in rows]
    texts = [summary for row in rows for summary in row.summaries]
    topics = Counter(row.topic for row in rows if row.topic)
    shown = sorted(topics.items(), key=lambda item: (-item[1], item[0]))[:TOPICS_SHOWN]
    return {
        "rows": len(rows),
        "references": {str(count): number for count, number in sorted(Counter(references).items())},
        "dialogue_characters": distribution([len(row.dialogue) for row in rows]),
        "summary_characters": distribution([len(text) for text in texts]),
        "turns": distribution([len(row.turns) for row in rows]),
        "speakers": distribution([len(row.speakers) for row in rows]),
        "rows_without_speaker_tag": sum(not row.speakers for row in rows),
        "summaries_longer_than_dialogue": sum(
            len(summary) > len(row.dialogue) for row in rows for summary in row.summaries
        ),
        "topics": {"different": len(topics), "most_frequent": dict(shown)},
        "groups": dict(sorted(Counter(row.group for row in rows if row.group).items())),
    }


def distribution(values: Sequence[int]) -> dict:
    """Minimum, percentiles (nearest rank), mean, maximum and an equal-width histogram."""
    if not values:
        return {"count": 0}
    ordered = sorted(values)
    count = len(ordered)
    ranks = {f"p{q}": ordered[max(0, math.ceil(q / 100 * count) - 1)] for q in _PERCENTILES}
    return {
        "count": count,
        "min": ordered[0],
        **ranks,
        "max": ordered[-1],
        "mean": round(sum(ordered) / count, 2),
        "total": sum(ordered),
        "histogram": _histogram(ordered),
    }


def describe_cleaning(counts: dict[str, Counter]) -> dict:
    """Each rule, what it does, and how many texts of each split it changed (including 0)."""
    return {
        name: {
            "rule": meaning,
            "texts_changed": {split: changed.get(name, 0) for split, changed in counts.items()},
        }
        for name, (meaning, _) in RULES.items()
    }


def describe_near_duplicates(found: NearDuplicates) -> dict:
    return {
        "measure": f"Jaccard similarity of word triples at least {NEAR_DUPLICATE_JACCARD}",
        "train_rows": found.train_rows,
        "rows": found.rows,
        "closest": [vars(pair) for pair in found.closest],
    }


def _histogram(ordered: Sequence[int]) -> dict:
    low, high = ordered[0], ordered[-1]
    width = max(1, math.ceil((high - low + 1) / HISTOGRAM_BINS))
    bins = Counter((value - low) // width for value in ordered)
    number = (high - low) // width + 1
    return {
        "first_edge": low,
        "bin_width": width,
        "counts": [bins.get(index, 0) for index in range(number)],
    }
