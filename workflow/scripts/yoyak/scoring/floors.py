"""What scores are compared with: floors below them, and the agreement of people.

A floor is what a system reaches that read nothing (one constant summary, another dialogue's
reference) or understood nothing (the summary of the nearest training dialogue, the first turns).
Human agreement is how well one person's summary scores against the other persons'.

floors/texts.jsonl     name, fname, text: what stands for a summary, where it is one text
floors/dialogues.csv   name and the columns of scores/dialogues.csv; empty where a dialogue has none
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from yoyak.config.study_settings import Metric
from yoyak.data.dialogues import Dialogue
from yoyak.errors import UserError, display
from yoyak.scoring.falsify import falsified_texts
from yoyak.scoring.nearest import nearest
from yoyak.scoring.pairs import PairMetric
from yoyak.scoring.rouge import Rouge
from yoyak.scoring.scores import (
    NUMBERS,
    SCORE_COLUMNS,
    by_name,
    label,
    measured,
    safe_cell,
    score_table,
    summaries_by_group,
)
from yoyak.scoring.tokenizers import CONTENT, make_tokenizer

FLOOR = "floor_"  # how the names of floors begin
OTHER_REFERENCE = "floor_other_reference"
HUMAN = "human_agreement"
FALSIFIED = "falsified_"  # how the names of first references begin in which something is false
FIRST_TURNS = (1, 2, 3)
CANDIDATES, CANDIDATES_SEED = 500, 0  # train summaries among which the medoid is looked for
SHIFTS = 30

Texts = Mapping[str, Sequence[str | None]]  # kind → a text for each dialogue; None: it has none
Scores = dict[str, dict[str, pd.DataFrame]]  # kind → name of a score → rows of `score_table`


def floor_texts(
    train: Sequence[Dialogue], dialogues: Sequence[Dialogue], metric: Metric, language: str
) -> dict[str, list[str | None]]:
    """Every floor that is one text a dialogue, and references made false."""
    summaries = [row.summary for row in train]
    constant = summaries[medoid(Rouge(metric.primary), summaries)]
    tokenizer = make_tokenizer(CONTENT[language])  # one for all metrics
    found = nearest(
        [tokenizer.tokenize_once(row.dialogue) for row in train],
        [tokenizer.tokenize_once(row.dialogue) for row in dialogues],
    )
    falsified = falsified_texts([row.summaries for row in dialogues], language)
    return {
        "floor_constant": [constant] * len(dialogues),
        "floor_nearest": [summaries[place] for place in found],
        **{
            f"floor_first_turn_{turns}": [first_turns(row.dialogue, turns) for row in dialogues]
            for turns in FIRST_TURNS
        },
        **{f"{FALSIFIED}{kind}": false for kind, false in falsified.items()},
    }


def score_levels(
    dialogues: Sequence[Dialogue], texts: Texts, metrics: Mapping[str, PairMetric], seed: int
) -> Scores:
    """Scores of these texts, of other dialogues' references and of people, each dialogue apart.

    A falsified first reference meets the others, as a person's summary does, where there are any.
    """
    references = [row.summaries for row in dialogues]
    others = [row.summaries[1:] or row.summaries for row in dialogues]
    partners = other_dialogues([row.group for row in dialogues], seed)
    found: Scores = {name: {} for name in (*texts, OTHER_REFERENCE, HUMAN)}
    for score, one in metrics.items():
        for name, of_dialogues in texts.items():
            scores, peers = one.score_with_peers(references, of_dialogues)
            if name.startswith(FALSIFIED):
                scores = peers = one.score_with_peers(others, of_dialogues)[0]
            found[name][score] = score_table(scores, peers)
        shifted = [
            one.score_with_peers(
                references, [None if at < 0 else references[at][0] for at in shift]
            )
            for shift in partners
        ]
        found[OTHER_REFERENCE][score] = score_table(*_mean_of_defined(shifted))
        agreement = one.human_agreement(references)
        found[HUMAN][score] = score_table(agreement, agreement)
    return {name: of_name for name, of_name in found.items() if _any_score(of_name)}


def medoid(rouge: Rouge, summaries: Sequence[str]) -> int:
    """Place of the summary that scores best against the others, on average.

    Among 500 drawn at random, where there are more.
    """
    generator = np.random.default_rng(CANDIDATES_SEED)
    places = np.arange(len(summaries))
    if len(places) > CANDIDATES:
        places = np.sort(generator.choice(places, CANDIDATES, replace=False))
    scores = np.zeros((len(places), len(places)))
    texts = [summaries[int(place)] for place in places]
    for row, text in enumerate(texts):
        for column in range(row):
            pair = rouge.score_pair(texts[column], text)
            scores[row, column] = scores[column, row] = sum(pair)  # F1 is symmetric
    return int(places[scores.sum(axis=0).argmax()])


def other_dialogues(groups: Sequence[str], seed: int) -> np.ndarray:
    """For each dialogue others of its group: shape (shifts, n), −1 where it has no (more) others.

    A seeded permutation of each group is shifted against itself by 1, 2, … 30.
    """
    generator = np.random.default_rng(seed)
    named = np.array(groups, dtype=str)
    partners = np.full((SHIFTS, len(named)), -1)
    for group in sorted(set(groups)):
        order = generator.permutation(np.flatnonzero(named == group))
        for shift in range(1, min(SHIFTS, len(order) - 1) + 1):
            partners[shift - 1, order] = np.roll(order, -shift)
    return partners


def first_turns(dialogue: str, turns: int) -> str:
    """Its first turns, all of them where it has fewer."""
    return "\n".join(dialogue.split("\n")[:turns])


def write_levels(
    directory: Path, dialogues: Sequence[Dialogue], texts: Texts, scores: Scores
) -> None:
    """Write texts.jsonl and dialogues.csv into a folder."""
    fnames = [row.fname for row in dialogues]
    lines = [
        json.dumps({"name": name, "fname": fname, "text": text}, ensure_ascii=False) + "\n"
        for name, of_dialogues in texts.items()
        for fname, text in zip(fnames, of_dialogues, strict=True)
        if text is not None
    ]
    (directory / "texts.jsonl").write_text("".join(lines), encoding="utf-8")
    rows = {
        "fname": [safe_cell(fname) for fname in fnames],
        "group": [safe_cell(row.group) for row in dialogues],
    }
    table = pd.concat(
        of_score.assign(name=name, **label(score), **rows)
        for name, of_name in scores.items()
        for score, of_score in of_name.items()
    )
    text = table.to_csv(columns=["name", *SCORE_COLUMNS], index=False, lineterminator="\n")
    (directory / "dialogues.csv").write_text(text, encoding="utf-8")


def read_levels(directory: Path, fnames: Sequence[str], names: Sequence[str]) -> Scores:
    """What `write_levels` wrote: kind → name of a score → rows in the data's order.

    Raises UserError if it is missing or is not of these dialogues and scores.
    """
    cure = "run floors.py (again)"
    path = directory / "dialogues.csv"
    numbers = list(NUMBERS)
    try:
        raw = path.read_bytes()
        types = {"fname": "str", **dict.fromkeys(numbers, float)}
        blank = {column: [""] for column in numbers}
        table = pd.read_csv(io.BytesIO(raw), dtype=types, keep_default_na=False, na_values=blank)
        scores: Scores = {}
        expected = [safe_cell(fname) for fname in fnames]
        for level, of_level in table.groupby("name", sort=False):
            for score, rows in by_name(of_level).items():
                if list(rows["fname"]) != expected:
                    raise UserError(
                        f"{display(path)}: not the dialogues of data/dev.csv, in its order; {cure}"
                    )
                scores.setdefault(level, {})[score] = rows[numbers].reset_index(drop=True)
    except OSError:
        raise UserError(f"{display(path)}: no such file; {cure}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{display(path)}: cannot be read; {cure}") from None
    if not scores or any(list(of_level) != list(names) for of_level in scores.values()):
        raise UserError(f"{display(path)}: scored under other metrics or tokenizers; {cure}")
    return scores


def context_rows(
    scores: Scores, groups: Sequence[str], metric: Metric, clusters: Sequence[str] = ()
) -> list[dict]:
    """Rows of context.csv: every level and score, of all dialogues and of each group."""
    rows = []
    for name, of_name in scores.items():
        for score, table in of_name.items():
            found = summaries_by_group(measured(score, table), groups, metric, clusters)
            what = {"name": name, "tokenizer": score}
            rows.append({**what, "group": "all", **found["all"]})
            rows += [{**what, "group": group, **row} for group, row in found["groups"].items()]
    return rows


def _mean_of_defined(
    shifted: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """Means over the shifts that a dialogue has; NaN where it has none."""
    stacked = np.array(shifted)  # (shifts, 2, n, 3)
    defined = ~np.isnan(stacked)
    totals = np.where(defined, stacked, 0).sum(axis=0)
    counts = defined.sum(axis=0)
    means = np.divide(totals, counts, out=np.full(totals.shape, np.nan), where=counts > 0)
    return means[0], means[1]


def _any_score(of_name: dict[str, pd.DataFrame]) -> bool:
    """Whether any dialogue has one: with one reference each, there is no human agreement."""
    return bool(next(iter(of_name.values()))["mean"].notna().any())
