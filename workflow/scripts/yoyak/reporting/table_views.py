"""The report's tables: their columns and headings."""

from collections.abc import Sequence
from dataclasses import dataclass

from yoyak.config.study import Study
from yoyak.reporting import tables
from yoyak.reporting.study_tables import Number, StudyTables, words

HEADINGS = {
    "rouge1": "R-1",
    "rouge2": "R-2",
    "rougeL": "R-L",
    "rouge_mean": "mean",
    "rouge_sum": "sum",
    "ci_low": "95 % from",
    "ci_high": "to",
    "supervised_tokens": "supervised tokens",
    "p_value": "p",
    "detectable": "told at 80 %",
    "sd": "sd of seeds",
    "sd_dialogues": "sd of dialogues",
    "length_ratio": "length ratio",
    "empty_rate": "empty",
    "length_limit_rate": "hit length limit",
    "repeated_ngram_rate": "repeated n-grams",
    "hangul_share": "Hangul",
    "unfounded_number_rate": "numbers not in the dialogue",
    "own_words_share": "right speaker",
    "unknown_words_rate": "words from nowhere",
    "novel_bigram_rate": "novel bigrams",
    "unchanged_rate": "as zero-shot",
    "loss_fall": "fall of the loss",
    "prompts_shortened": "prompts shortened",
    "wall_seconds": "seconds",
    "tokens_per_second": "tokens/s",
    "peak_memory_gb": "peak GB",
    "skipped_steps": "skipped",
    "expected_gpu_memory_gb": "expected GB",
    "sum_as_quoted": "sum as quoted",
    "difference_ci_low": "95 % from",
    "difference_ci_high": "to",
    "name": "quantity",
    "share": "share of the way",
    "human_difference": "to human agreement",
    "human_ci_low": "95 % from",
    "human_ci_high": "to",
}
FILTERS = (
    *("metric", "tokenizer", "name", "model", "variant", "format", "condition", "group"),
    *("comparison", "step"),
)
SIGNED = ("difference", "human_difference")


@dataclass(frozen=True)
class Column:
    """A column of the report. `text` ones are left-aligned; `filter` ones get a choice box."""

    key: str
    heading: str
    text: bool
    filter: bool


@dataclass(frozen=True)
class View:
    """A table of the report; a cell is a text or a Number, None where the CSV is empty."""

    name: str
    title: str
    note: str
    columns: list[Column]
    rows: list[list[str | Number | None]]


def view(
    study_tables: StudyTables,
    study: Study,
    name: str,
    note: str = "",
    leave_out: Sequence[str] = (),
    **values: object,
) -> View:
    """All of tables/{name}.csv, or its rows with these values, without columns that say nothing."""
    rows = study_tables.rows(name, **values)
    keys = [key for key in tables.COLUMNS[name] if key not in (*leave_out, *values, *tables.UNREAD)]
    alone = {"seed": len(study.seeds) == 1, "variant": len(study.variants) == 1}
    keys = [key for key in keys if not alone.get(key)]
    filters = [key for key in FILTERS if len({row.get(key) for row in rows}) > 1]
    return View(
        name=name,
        title=tables.TITLES[name],
        note=note,
        columns=[
            Column(
                key,
                HEADINGS.get(key, key.replace("_", " ")),
                key in tables.TEXT,
                key in filters and len(rows) > 4,
            )
            for key in keys
        ],
        rows=[[_cell(study_tables, name, row, key) for key in keys] for row in rows],
    )


def _cell(study_tables: StudyTables, name: str, row: dict, key: str) -> str | Number | None:
    if row[key] is None:
        return None
    if key in tables.TEXT:
        return words(key, row[key])
    return study_tables.cell(name, row, key, signed=key in SIGNED)
