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
from yoyak.reporting.results import CONDITION_NAMES, Row, undertrained
from yoyak.reporting.study_tables import Sentence, StudyTables
from yoyak.reporting.tables import CELL

LANGUAGES = {"ko": "Korean", "en": "English"}


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
    models = list(study.models)
    named = models[0] if len(models) == 1 else ", ".join(models[:-1]) + f" and {models[-1]}"
    return (
        f"How much does {method(study)} fine-tuning help {named} summarise "
        f"{LANGUAGES[study.language]} dialogues?"
    )


def method(study: Study) -> str:
    """QLoRA, LoRA or full, from the model files."""
    kinds = {
        "QLoRA" if lora.use_qlora else "LoRA" if lora.use_lora else "full"
        for lora in (config.lora for config in study.models.values())
    }
    return " or ".join(sorted(kinds, reverse=True))


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
        own = of_group(study, study_tables, tokenizer, group)
        sentences.append([*own, *_gain(study_tables, "group_differences", rows)])
    sentences += [*_few_shot(study, study_tables), *question_sentences(study, study_tables)]
    sentences += [_other_variant(study, study_tables, name) for name in study.variants[1:]]
    for row in undertrained(study_tables.rows("diagnostics")):
        same = study_tables.cell("diagnostics", row, "unchanged_rate")
        fall = study_tables.cell("diagnostics", row, "loss_fall", signed=True)
        text: Sentence = [f"Hardly trained: {_name(study, row)}."]
        if same is not None:
            text += [" Share of its predictions that are the zero-shot ones: ", same, "."]
        if fall is not None:
            text += [" Share by which its loss fell: ", fall, "."]
        sentences.append(text)
    return sentences


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
    first, second, *others = study_tables.rows("methods")
    run = {key: first[key] for key in CELL}
    table, row = next(
        pair for pair in score_rows(study, study_tables) if run.items() <= pair[1].items()
    )
    mean = [f"{_name(study, run)}, ", study_tables.cell("methods", first, "rouge_mean")]
    mean += _interval(study_tables, table, row)
    gap = [study_tables.cell("methods", second, "difference"), " points"]
    gap += _interval(study_tables, "methods", second)
    runner_up = f"the second, {_name(study, second)}"
    if (second["seeds"] or 0) < 3:
        few = "two seeds are" if second["seeds"] == 2 else "one seed is"
        end = f"; {few} too few to call a method the best."
        return ["Highest mean: ", *mean, f", above {runner_up}, by ", *gap, end]
    if (second["ci_low"] or 0) > 0:
        return ["Best method: ", *mean, f", better than {runner_up}, by ", *gap, "."]
    text: Sentence = ["Highest mean: ", *mean, f", not told apart from {runner_up}: ", *gap]
    if second["detectable"] is not None:
        n, seeds, smallest = (
            study_tables.cell("methods", second, key) for key in ("n", "seeds", "detectable")
        )
        text += ["; ", n, " dialogues and ", seeds, " seeds tell ", smallest, " at 80 % power"]
    alike = sum((row["ci_low"] or 0) <= 0 for row in others)
    return [*text, f". Nor is it from {alike} of the others." if alike else "."]


def _interval(study_tables: StudyTables, table: str, row: Row) -> Sentence:
    low, high = (study_tables.cell(table, row, key) for key in ("ci_low", "ci_high"))
    return [] if low is None else [" (95 % interval ", low, " to ", high, ")"]


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
    low, high, least, most = (
        study_tables.cell("differences", row, "difference", signed=True)
        for found in (tuned, prompted)
        for row in (found.lowest, found.highest)
    )
    return [
        [
            f"Few-shot, with {study.settings.few_shot} training examples in the prompt: against it "
            f"fine-tuning lies above 0 in {tuned.up} of {tuned.total}, below in {tuned.down}, by ",
            *(low, " to ", high, " points; few-shot differs from zero-shot by ", least, " to "),
            *(most, ". This is none of the questions: intervals are not adjusted, nothing is "),
            "tested.",
        ]
    ]


def _name(study: Study, row: Row) -> str:
    variant = [row["variant"]] if len(study.variants) > 1 and row["variant"] else []
    parts = [row["model"], *variant, row["format"], CONDITION_NAMES[row["condition"]]]
    if len(study.seeds) > 1 and row.get("seed") is not None:
        parts.append(f"seed {row['seed']}")
    return " · ".join(parts)


def _other_variant(study: Study, study_tables: StudyTables, variant: str) -> Sentence:
    """A variant that no question is about: its gain, not tested."""
    rows = study_tables.rows(
        "differences",
        comparison="fine_tuned-zero_shot",
        tokenizer=study.settings.metric.primary,
        variant=variant,
    )
    count = len(study.seeds_of(variant))
    seeds = f"{count} seed{'s' if count > 1 else ''}"
    return [f"Variant {variant} ({seeds}), not tested.", *_gain(study_tables, "differences", rows)]


def _gain(study_tables: StudyTables, table: str, rows: list[Row]) -> Sentence:
    found = judge(rows)
    low = study_tables.cell(table, found.lowest, "difference", signed=True)
    high = study_tables.cell(table, found.highest, "difference", signed=True)
    return [
        f" Against zero-shot the interval lies above 0 in {found.up} of {found.total}, below in "
        f"{found.down} (not adjusted), by ",
        low,
        " to ",
        high,
        " points.",
    ]
