"""Question and answer as reStructuredText, for the first page of `snakemake --report`."""

import re
from pathlib import Path

from yoyak.config.study import Study
from yoyak.reporting.answer import answer, details, question
from yoyak.reporting.study_tables import Number, Sentence, StudyTables
from yoyak.reporting.texts import texts_of


def render_opening(study: Study, results: Path) -> str:
    """The question as a heading, the answer, its details, and the study's note.

    Raises UserError when a table is missing.
    """
    texts = texts_of(study)
    study_tables = StudyTables(results)
    heading = plain(question(study))
    kicker = texts("opening.debug") if study.debug else ""
    lines = [heading, "=" * 2 * len(heading), kicker + _text(answer(study, study_tables))]
    lines += [f"- {_text(sentence)}" for sentence in details(study, study_tables)]
    lines.append(plain(study.settings.report.note))
    lines.append(texts("opening.rest"))
    return "\n\n".join(lines).replace("\n\n===", "\n===") + "\n"


def plain(text: str) -> str:
    """Text on one line, with markup characters escaped."""
    return re.sub(r"([^\w\s]|_)", r"\\\1", " ".join(text.split()))


def _text(sentence: Sentence) -> str:
    return plain("".join(part.text if isinstance(part, Number) else part for part in sentence))
