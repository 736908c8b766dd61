"""The note below each table: how its numbers were computed, and what they do not show."""

from yoyak.config.study_settings import Metric
from yoyak.reporting.results import LOSS_FALL, UNCHANGED
from yoyak.reporting.texts import Texts

SIGNED = ("rouge", "groups", "metrics")  # notes that end in all signatures


def note_values(metric: Metric, summary: dict, flips: int, warned: dict[str, int]) -> dict:
    """What the notes say of a study, for tables/run.json.

    Args:
        metric: the study's metric settings.
        summary: any run's scores/summary.json; all have the same signatures.
        flips: random sign changes of the paired test.
        warned: warnings at the start of trainings, and the number of trainings for each.
    """
    return {
        "tokenizer": metric.primary,
        "method": summary["interval"]["method"],
        "resamples": f"{metric.resamples:,}",
        "flips": f"{flips:,}",
        "seed": metric.seed,
        "unchanged": UNCHANGED,
        "loss_fall": LOSS_FALL,
        "warnings": warned,
        "signatures": {name: of["signature"] for name, of in summary["scores"].items()},
    }


def table_note(texts: Texts, name: str, values: dict, signatures: bool = False) -> str:
    """The note of a table.

    Args:
        values: from `note_values`.
        signatures: below the notes of scores, the signature of each.
    """
    values = {**values, "method": texts.recorded(values["method"])}
    values |= {"primary": values["tokenizer"], "interval": values["method"]}
    values["tokenizer"] = texts(f"tokenizers.{values['tokenizer']}")
    parts = {
        key: texts(f"note_parts.{key}", **values) for key in ("who", "interval", "over", "primary")
    }
    parts["paired"] = texts("note_parts.paired", over=parts["over"])
    parts["warnings"] = "".join(
        texts("note_parts.warning", count=count, text=texts.recorded(text))
        for text, count in values["warnings"].items()
    )
    if not signatures:
        parts["primary"] = ""
    note = texts(f"notes.{name}", **{**values, **parts}).rstrip()
    listed = "\n".join(f"- {score}: `{text}`" for score, text in values["signatures"].items())
    return f"{note}\n\n{listed}" if signatures and name in SIGNED else note
