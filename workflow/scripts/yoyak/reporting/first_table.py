"""The report's first table: the scores of every run, floors and human agreement below them."""

from yoyak.config.study import FEW_SHOT, ZERO_SHOT, Study
from yoyak.reporting import tables
from yoyak.reporting.answer import score_rows
from yoyak.reporting.results import FALSE, FLOOR, HUMAN, context_name
from yoyak.reporting.study_tables import StudyTables
from yoyak.reporting.texts import Texts, texts_of


def main_rows(
    study: Study, study_tables: StudyTables, primary: str, content: str | None
) -> list[dict]:
    """Rows of the first table: scores, over all seeds, how far from their floor and zero-shot."""
    rows = []
    for table, row in score_rows(study, study_tables):
        run = {key: row[key] for key in tables.CELL}
        kind = FEW_SHOT if row["condition"] == FEW_SHOT else "fine_tuned"
        found = study_tables.rows(
            "differences", comparison=f"{kind}-{ZERO_SHOT}", tokenizer=primary, **run
        )
        seeds = study.seeds_of(row["variant"]) if row["variant"] else []
        anchor = run_anchor(**run, seed=seeds[0]) if seeds else None
        rows.append(
            {
                "table": table,
                "scores": row,
                "content": _first(study_tables.rows(table, tokenizer=content, **run)),
                "level": _first(
                    study_tables.rows(
                        "levels", tokenizer=primary, group="all", seed=row.get("seed"), **run
                    )
                ),
                "difference": _first(found),
                "anchor": anchor,
            }
        )
    return rows


def level_rows(
    texts: Texts, study_tables: StudyTables, primary: str, content: str | None
) -> list[dict]:
    """The first table's last rows: floors, falsified references, and human agreement."""
    rows = study_tables.rows("context", tokenizer=primary, group="all")
    floors = [row for row in rows if row["name"].startswith(FLOOR)]
    others = [row for row in rows if row["name"] in (FALSE, HUMAN)]
    return [
        {
            "name": texts("levels.floor", name=name) if row in floors else name,
            "scores": row,
            "content": _first(
                study_tables.rows("context", name=row["name"], tokenizer=content, group="all")
            ),
        }
        for row in floors + others
        for name in [context_name(texts, row["name"])]
    ]


def caption(study: Study, primary: str, content: str | None) -> str:
    """What the first table shows."""
    texts = texts_of(study)
    seeds = texts("page.caption_one_seed")
    if len(study.seeds) > 1:
        key = "page.caption_of_variant" if len(study.variants) > 1 else "page.caption_of_seeds"
        of_each = {name: len(study.seeds_of(name)) for name in study.variants}
        counts = [texts(key, n=count, variant=name) for name, count in of_each.items()]
        seeds = texts("page.caption_seeds", seeds=", ".join(counts))
    named = content and texts("page.caption_content", content=texts(f"tokenizers.{content}"))
    return texts(
        "page.caption",
        primary=texts(f"tokenizers.{primary}"),
        references=texts.recorded(study.settings.metric.references),
        content=f"{named} " if named else "",
        seeds=seeds,
    )


def run_anchor(model: str, variant: str, format: str, condition: str, seed: int) -> str:
    """The id of a training's own section."""
    return f"run-{model}-{variant}-{format}-{condition}-{seed}"


def _first(rows: list[dict]) -> dict | None:
    return rows[0] if rows else None
