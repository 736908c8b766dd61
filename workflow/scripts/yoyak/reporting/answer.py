"""The study's question, and its answer in sentences built from the tables."""

from dataclasses import dataclass

from yoyak.config.study import Study
from yoyak.reporting.levels import (
    against_floors,
    content_alone,
    falsified_references,
    human_agreement_gap,
    of_group,
)
from yoyak.reporting.questions import headline, question_sentences
from yoyak.reporting.results import Row, run_name, undertrained
from yoyak.reporting.study_tables import Sentence, StudyTables
from yoyak.reporting.tables import CELL
from yoyak.reporting.texts import Texts, texts_of


@dataclass(frozen=True)
class Verdict:
    """How many intervals lie above and below 0, and the range of differences."""

    up: int
    down: int
    lowest: Row
    highest: Row
    total: int


def question(study: Study) -> str:
    """The study's description if it is a question, else one built from method, models, language."""
    description = study.settings.description.strip()
    if description.endswith("?"):
        return description
    texts = texts_of(study)
    models = list(study.models)
    named = texts("words.and").join(filter(None, (", ".join(models[:-1]), models[-1])))
    language = texts(f"languages.{study.language}")
    return texts("question.built", method=method(study), models=named, language=language)


def method(study: Study) -> str:
    """QLoRA, LoRA or full, from the model files."""
    texts = texts_of(study)
    kinds = {
        "QLoRA" if lora.use_qlora else "LoRA" if lora.use_lora else texts("words.full")
        for lora in (config.lora for config in study.models.values())
    }
    return texts("words.or").join(sorted(kinds, reverse=True))


def answer(study: Study, study_tables: StudyTables) -> Sentence:
    """Two sentences: the level against the strongest floor, then the gain over zero-shot.

    For a model that was hardly trained it never says that fine-tuning changed nothing.
    """
    level = against_floors(study, study_tables, study.settings.metric.primary)
    return [*level, " ", *headline(study, study_tables)]


def details(study: Study, study_tables: StudyTables) -> list[Sentence]:
    """Sentences on content, human agreement, the best run, groups, formats and augmentations."""
    tokenizer = study.settings.metric.primary
    sentences = [
        *content_alone(study, study_tables),
        *human_agreement_gap(study, study_tables),
        *falsified_references(study, study_tables),
        best_method(study, study_tables),
    ]
    groups = dict.fromkeys(row["group"] for row in study_tables.rows("group_differences"))
    for group in groups:
        rows = study_tables.rows(
            "group_differences",
            comparison="fine_tuned-zero_shot",
            tokenizer=tokenizer,
            group=group,
            variant=study.variants[0],
        )
        gain = _gain(study, study_tables, "group_differences", rows)
        sentences.append(of_group(study, study_tables, tokenizer, group, gain))
    sentences += [*_few_shot(study, study_tables), *question_sentences(study, study_tables)]
    sentences += [_other_variant(study, study_tables, name) for name in study.variants[1:]]
    idle = undertrained(study_tables.rows("diagnostics"))
    return [*sentences, *(_hardly_trained(study, study_tables, row) for row in idle)]


def judge(rows: list[Row]) -> Verdict:
    """Count differences whose own interval, not adjusted for their number, leaves out 0."""
    return Verdict(
        up=sum(row["ci_low"] is not None and row["ci_low"] > 0 for row in rows),
        down=sum(row["ci_high"] is not None and row["ci_high"] < 0 for row in rows),
        lowest=min(rows, key=lambda row: row["difference"]),
        highest=max(rows, key=lambda row: row["difference"]),
        total=len(rows),
    )


def score_rows(study: Study, study_tables: StudyTables) -> list[tuple[str, Row]]:
    """Rows of the first table, each with its table's name: means over the study's seeds."""
    tokenizer = study.settings.metric.primary
    together = [name for name in study.variants if len(study.seeds_of(name)) > 1]
    rows = [
        ("rouge", row)
        for row in study_tables.rows("rouge", tokenizer=tokenizer)
        if row["variant"] not in together
    ]
    if not together:
        return rows
    rows += [("seeds", row) for row in study_tables.rows("seeds", tokenizer=tokenizer)]
    models, formats = list(study.models), study.formats

    def place(pair: tuple[str, Row]) -> tuple[int, ...]:
        row = pair[1]
        method = study.score_rows.index((row["condition"], row["variant"]))
        return models.index(row["model"]), formats.index(row["format"]), method

    return sorted(rows, key=place)


def best_method(study: Study, study_tables: StudyTables) -> Sentence:
    """The best method, and whether so many dialogues and seeds tell it from the second."""
    texts = texts_of(study)
    first, second, *others = study_tables.rows("methods")
    run = {key: first[key] for key in CELL}
    table, row = next(
        pair for pair in score_rows(study, study_tables) if run.items() <= pair[1].items()
    )
    mean = [study_tables.cell("methods", first, "rouge_mean")]
    gap = texts.sentence("words.points", value=study_tables.cell("methods", second, "difference"))
    names = {
        "best": _name(study, run),
        "mean": mean + _interval(texts, study_tables, table, row),
        "second": _name(study, second),
        "gap": gap + _interval(texts, study_tables, "methods", second),
    }
    if (second["seeds"] or 0) < 3:
        return texts.sentence("answer.best_of_few", n=second["seeds"] or 1, **names)
    if (second["ci_low"] or 0) > 0:
        return texts.sentence("answer.best", **names)
    power: Sentence = []
    if second["detectable"] is not None:
        n, seeds, smallest = (
            study_tables.cell("methods", second, key) for key in ("n", "seeds", "detectable")
        )
        power = texts.sentence("answer.best_power", n=n, seeds=seeds, smallest=smallest)
    alike = sum((row["ci_low"] or 0) <= 0 for row in others)
    end = texts("answer.best_others", count=alike) if alike else "."
    return texts.sentence("answer.best_untold", power=power, others=end, **names)


def _interval(texts: Texts, study_tables: StudyTables, table: str, row: Row) -> Sentence:
    low, high = (study_tables.cell(table, row, key) for key in ("ci_low", "ci_high"))
    return [] if low is None else texts.sentence("words.interval", low=low, high=high)


def _few_shot(study: Study, study_tables: StudyTables) -> list[Sentence]:
    """Whether fine-tuning beats examples in the prompt; none where the study has no such runs."""
    if not study.settings.few_shot:
        return []
    tokenizer = study.settings.metric.primary
    tuned, prompted = (
        judge(study_tables.rows("differences", comparison=name, tokenizer=tokenizer, variant=which))
        for name, which in (
            ("fine_tuned-few_shot", study.variants[0]),
            ("few_shot-zero_shot", None),
        )
    )
    texts = texts_of(study)
    values = _differences(texts, study_tables, "differences", tuned)
    values |= {
        "examples": study.settings.few_shot,
        "prompted": _differences(texts, study_tables, "differences", prompted)["change"],
    }
    return [texts.sentence("answer.few_shot", **values)]


def _hardly_trained(study: Study, study_tables: StudyTables, row: Row) -> Sentence:
    texts = texts_of(study)
    shares = {"same": ("unchanged_rate", False), "fall": ("loss_fall", True)}
    told = {}
    for name, (column, signed) in shares.items():
        share = study_tables.cell("diagnostics", row, column, signed=signed)
        told[name] = [] if share is None else texts.sentence(f"answer.{name}", share=share)
    return texts.sentence("answer.hardly_trained", run=_name(study, row), **told)


def _name(study: Study, row: Row) -> str:
    texts = texts_of(study)
    named = run_name(texts, row, variants=len(study.variants) > 1)
    if len(study.seeds) > 1 and row.get("seed") is not None:
        return f"{named} · {texts('words.seed', seed=row['seed'])}"
    return named


def _other_variant(study: Study, study_tables: StudyTables, variant: str) -> Sentence:
    """A variant that no question is about: its gain, not tested."""
    rows = study_tables.rows(
        "differences",
        comparison="fine_tuned-zero_shot",
        tokenizer=study.settings.metric.primary,
        variant=variant,
    )
    gain = _gain(study, study_tables, "differences", rows)
    count = len(study.seeds_of(variant))
    return texts_of(study).sentence("answer.variant", variant=variant, n=count, gain=gain)


def _gain(study: Study, study_tables: StudyTables, table: str, rows: list[Row]) -> Sentence:
    texts = texts_of(study)
    return texts.sentence("answer.gain", **_differences(texts, study_tables, table, judge(rows)))


def _differences(texts: Texts, study_tables: StudyTables, table: str, found: Verdict) -> dict:
    """Fields of a sentence on differences: the range of several, one with its interval."""
    low, high = (
        study_tables.cell(table, row, "difference", signed=True)
        for row in (found.lowest, found.highest)
    )
    return {
        "n": found.total,
        "up": found.up,
        "down": found.down,
        "change": [low] if found.total == 1 else texts.sentence("level.range", low=low, high=high),
        "interval": _interval(texts, study_tables, table, found.lowest),
    }
