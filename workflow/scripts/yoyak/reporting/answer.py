"""The study's question, and its answer in sentences made from the tables' numbers."""

from dataclasses import dataclass

from yoyak.config.study import TRAINED, Study
from yoyak.reporting.cited import CitedTables, Sentence
from yoyak.reporting.levels import (
    against_floors,
    content_alone,
    of_group,
    towards_people,
    unseen_falsehood,
)
from yoyak.reporting.questions import headline, question_sentences
from yoyak.reporting.results import CONDITION_NAMES, Row, hardly_trained

LANGUAGES = {"ko": "Korean", "en": "English"}


@dataclass(frozen=True)
class Verdict:
    """How many intervals lie above 0 and below it, of how many; and the range of differences."""

    up: int
    down: int
    lowest: Row
    highest: Row
    total: int


def question(study: Study) -> str:
    """The study's description if it is a question, else one made of method, models, language."""
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
    """QLoRA, LoRA or full: what the models' files say."""
    kinds = {
        "QLoRA" if lora.use_qlora else "LoRA" if lora.use_lora else "full"
        for lora in (config.lora for config in study.models.values())
    }
    return " or ".join(sorted(kinds, reverse=True))


def answer(study: Study, cited: CitedTables) -> Sentence:
    """Two sentences: the level that trainings reach against their strongest floor, then the gain.

    It never says of a model that was hardly trained that fine-tuning did not change it.
    """
    level = against_floors(cited, study.settings.metric.primary)
    return [*level, " ", *headline(study, cited)]


def details(study: Study, cited: CitedTables) -> list[Sentence]:
    """Content, people, the best run, groups, formats and augmentations: a sentence each."""
    tokenizer = study.settings.metric.primary
    sentences = [
        *content_alone(study, cited),
        *towards_people(study, cited),
        *unseen_falsehood(study, cited),
        _best(study, cited),
    ]
    groups = dict.fromkeys(row["group"] for row in cited.rows("group_differences"))
    for group in groups:
        rows = cited.rows(
            "group_differences",
            comparison="fine_tuned-zero_shot",
            tokenizer=tokenizer,
            group=group,
        )
        own = of_group(cited, tokenizer, group)
        sentences.append([*own, *_gain_of_group(cited, rows)])
    sentences += [*_few_shot(study, cited), *question_sentences(study, cited)]
    for row in hardly_trained(cited.rows("diagnostics")):
        same = cited.cell("diagnostics", row, "unchanged_rate")
        fall = cited.cell("diagnostics", row, "loss_fall", signed=True)
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


def arms(study: Study, cited: CitedTables) -> list[tuple[str, Row]]:
    """Rows of the first table, each with its table's name: means over the study's seeds."""
    tokenizer = study.settings.metric.primary
    rows = [("rouge", row) for row in cited.rows("rouge", tokenizer=tokenizer)]
    if len(study.seeds) == 1:
        return rows
    rows = [pair for pair in rows if pair[1]["condition"] not in TRAINED]
    rows += [("seeds", row) for row in cited.rows("seeds", tokenizer=tokenizer)]
    models, formats = list(study.models), study.formats
    return sorted(rows, key=lambda p: (models.index(p[1]["model"]), formats.index(p[1]["format"])))


def _best(study: Study, cited: CitedTables) -> Sentence:
    table, row = max(arms(study, cited), key=lambda pair: pair[1]["rouge_mean"])
    mean, low, high = (cited.cell(table, row, key) for key in ("rouge_mean", "ci_low", "ci_high"))
    interval = [] if low is None else [" (95 % interval ", low, " to ", high, ")"]
    return [f"Highest mean: {_name(study, row)}, ", mean, *interval, "."]


def _few_shot(study: Study, cited: CitedTables) -> list[Sentence]:
    """Whether fine-tuning beats examples in the prompt; none where the study has no such runs."""
    if not study.settings.few_shot:
        return []
    tokenizer = study.settings.metric.primary
    tuned, prompted = (
        judge(cited.rows("differences", comparison=name, tokenizer=tokenizer))
        for name in ("fine_tuned-few_shot", "few_shot-zero_shot")
    )
    low, high, least, most = (
        cited.cell("differences", row, "difference", signed=True)
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
    parts = [row["model"], row["format"], CONDITION_NAMES[row["condition"]]]
    if len(study.seeds) > 1 and row.get("seed") is not None:
        parts.append(f"seed {row['seed']}")
    return " · ".join(parts)


def _gain_of_group(cited: CitedTables, rows: list[Row]) -> Sentence:
    found = judge(rows)
    low = cited.cell("group_differences", found.lowest, "difference", signed=True)
    high = cited.cell("group_differences", found.highest, "difference", signed=True)
    return [
        f" Against zero-shot the interval lies above 0 in {found.up} of {found.total}, below in "
        f"{found.down} (not adjusted), by ",
        low,
        " to ",
        high,
        " points.",
    ]
