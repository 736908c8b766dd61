"""report.html: one self-contained file that needs no network."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import jinja2
import yaml
from markupsafe import Markup, escape

from yoyak.config.study import Run, Study
from yoyak.data.dialogues import load_split
from yoyak.errors import PROJECT_ROOT
from yoyak.reporting import tables
from yoyak.reporting.agreement import conclusions
from yoyak.reporting.answer import answer, details, method, question
from yoyak.reporting.disputed import best_training, most_disputed
from yoyak.reporting.first_table import caption, level_rows, main_rows, run_anchor
from yoyak.reporting.inline_svg import inline_svg
from yoyak.reporting.notes import table_note
from yoyak.reporting.results import (
    content_tokenizer,
    run_name,
    score_name,
)
from yoyak.reporting.samples import choose_samples
from yoyak.reporting.study_tables import Number, StudyTables
from yoyak.reporting.table_views import view
from yoyak.reporting.texts import texts_of
from yoyak.run.workspace import read_json

TEMPLATES = PROJECT_ROOT / "workflow" / "report"
VENDORED = TEMPLATES / "vendor" / "datatables" / "dataTables.min.js"
STEPS = (
    ("train", "run.json"),
    ("generate", "predictions/run.json"),
    ("score", "scores/run.json"),
)


@dataclass(frozen=True)
class Plot:
    """An inline SVG and its caption."""

    svg: str
    caption: str


def render_report(study: Study, results: Path) -> str:
    """The complete page of a study, from its tables and plots.

    Raises UserError when a result file is missing, naming it and the step that writes it.
    """
    results, texts = Path(results), texts_of(study)
    study_tables = StudyTables(results)
    plots = _plots(results)
    primary, content = study.settings.metric.primary, content_tokenizer(study)
    best = best_training(study, study_tables)
    library = VENDORED.read_text(encoding="utf-8").strip()
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8").strip()
    return _environment().get_template("report.html.j2").render(
        t=texts,
        study=study,
        settings=study.settings,
        primary=texts(f"tokenizers.{primary}"),
        question=question(study),
        method=method(study),
        caption=caption(study, primary, content),
        answer=answer(study, study_tables),
        details=details(study, study_tables),
        content=content and texts(f"tokenizers.{content}"),
        main_rows=main_rows(study, study_tables, primary, content),
        level_rows=level_rows(texts, study_tables, primary, content),
        study_tables=study_tables,
        views=_views(study, study_tables, results),
        plots=plots,
        trainings=_trainings(study, study_tables, results, plots),
        conclusions=conclusions(study, study_tables),
        disputed_of=_title(best, study),
        disputed=most_disputed(study, best, load_split(results / "data" / "dev.csv"), results),
        signatures=_signatures(study, results),
        data_card=_yaml(read_json(results / "data/data_card.json", "run prepare_data.py first")),
        dataset=_record(results / "data/run.json"),
        made=_newest(results),
        effective=_yaml(
            {
                "study": study.settings.model_dump(),
                "models": {name: config.model_dump() for name, config in study.models.items()},
            }
        ),
        reproduce=_reproduce(study),
        gain_text=lambda gain: f"{gain:+.1f}".replace("-", "−"),
        diagnostic_columns=(*tables.FIGURES, "prompts_shortened"),
        library_version=library.split("DataTables ", 1)[1].split()[0],
        css=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        scripts=[library, script],
        script_hashes=[_csp_hash(library), _csp_hash(script)],
    )  # fmt: skip


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["number"] = lambda value: isinstance(value, Number)
    environment.filters["breakable"] = breakable
    return environment


def breakable(name: str) -> Markup:
    """Text in which a long name may wrap: after `_` and `/`, and after 16 letters."""
    return Markup(re.sub(r"([_/]|[^\W_]{16})", r"\1<wbr>", str(escape(name))))


def _csp_hash(script: str) -> str:
    """The only scripts that the page may run are those with these hashes."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _plots(results: Path) -> dict[str, Plot]:
    folder = results / "plots"
    captions = read_json(folder / "captions.json", "run plot.py first")
    return {
        stem: Plot(inline_svg(folder / f"{stem}.svg", f"p{place}", caption), caption)
        for place, (stem, caption) in enumerate(captions.items())
    }


def _views(study: Study, study_tables: StudyTables, results: Path) -> dict:
    """The tables in full; a table without rows is left out."""
    texts, cure = texts_of(study), "run compare.py (again)"
    values = read_json(results / "tables" / "run.json", cure).get("notes", {})
    primary = study.settings.metric.primary
    names = ["questions", "methods", "metrics", "rouge", "differences", "context", "levels"]
    names += ["diagnostics", "resources", *(["seeds"] if len(study.seeds) > 1 else [])]
    names += ["quoted"] if study.settings.report.quoted else []
    only = dict.fromkeys(("groups", "group_differences"), {"tokenizer": primary})
    views = {
        name: view(study_tables, study, name, table_note(texts, name, values), **only.get(name, {}))
        for name in (*names, *only)
    }
    return {name: table for name, table in views.items() if table.rows}


def _trainings(
    study: Study, study_tables: StudyTables, results: Path, plots: dict[str, Plot]
) -> list[dict]:
    """What each training's own section shows."""
    texts, dialogues = texts_of(study), load_split(results / "data" / "dev.csv")
    sections = []
    for run in study.trainings():
        start = run.zero_shot
        untrained = [start, run.few_shot] if study.settings.few_shot else [start]
        of_run = study_tables.rows("diagnostics", **run.record())
        of_start = study_tables.rows("diagnostics", **start.record())
        place = results / run.folder
        sections.append(
            {
                "anchor": run_anchor(**run.record()),
                "title": _title(run, study),
                "plot": plots[run.loss_plot],
                "diagnostics": [("zero_shot", of_start[0]), ("fine_tuned", of_run[0])],
                "total": len(dialogues),
                "samples": choose_samples(
                    run,
                    dialogues,
                    results,
                    study.settings.metric.primary,
                    study.settings.report.samples,
                ),
                "example": read_json(
                    results / run.examples / "statistics.json", "run build_dataset.py first"
                ).get("example"),
                "records": [(texts.recorded(step), _record(place / path)) for step, path in STEPS]
                + [
                    (
                        texts("page.generated", condition=texts(f"conditions.{each.condition}")),
                        _record(results / each.folder / "predictions/run.json"),
                    )
                    for each in untrained
                ],
            }
        )
    return sections


def _title(run: Run, study: Study) -> str:
    texts = texts_of(study)
    seed = [texts("words.seed", seed=run.seed)] if len(study.seeds) > 1 else []
    return " · ".join([run_name(texts, run.record(), variants=len(study.variants) > 1), *seed])


def _record(path: Path) -> dict:
    """A run.json with its whole text beside the facts that are shown first."""
    record = read_json(path, "run the step that writes it first")
    return {**record, "text": json.dumps(record, ensure_ascii=False, indent=1)}


def _signatures(study: Study, results: Path) -> dict[str, str]:
    """Of each tokenizer: metric, analyser and reference handling in one line."""
    first = results / study.runs()[0].folder / "scores" / "summary.json"
    summary = read_json(first, "run score.py first")
    texts = texts_of(study)
    return {score_name(texts, name): of["signature"] for name, of in summary["scores"].items()}


def _newest(results: Path) -> dict:
    """The record of the tables: date, commit and packages of the comparison."""
    return _record(results / "tables" / "run.json")


def _reproduce(study: Study) -> str:
    debug = " debug=true" if study.debug else ""
    return f"snakemake --cores 1 --resources gpu=1 --config study={study.source}{debug}"


def _yaml(content: dict) -> str:
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=100)
