"""The study's question, and its answer in sentences made from the tables' numbers."""

from dataclasses import dataclass

from yoyak.config.study import ZERO_SHOT, Study
from yoyak.reporting.cited import CitedTables, Sentence
from yoyak.reporting.levels import against_floors, content_alone, of_group, towards_people
from yoyak.reporting.results import CONDITION_NAMES, Row, hardly_trained

SIGNIFICANT = 0.05
LANGUAGES = {"ko": "Korean", "en": "English"}


@dataclass(frozen=True)
class Verdict:
    """How many of some differences are clearly up, clearly down, or neither; and their range."""

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
    tokenizer = study.settings.metric.primary
    rows = cited.rows("differences", comparison="fine_tuned-zero_shot", tokenizer=tokenizer)
    found = judge(rows)
    rose = found.up == found.total
    low = cited.cell("differences", found.lowest, "difference", signed=not rose)
    high = cited.cell("differences", found.highest, "difference", signed=not rose)
    trainings = "training" if found.total == 1 else "trainings"
    idle = len(hardly_trained(cited.rows("diagnostics")))
    if rose:
        opening = f"Fine-tuning raised ROUGE in {_all(found.total, trainings)}, by"
    elif found.down == found.total:
        opening = f"Fine-tuning lowered ROUGE in {_all(found.total, trainings)}:"
    elif found.up == found.down == 0 and idle:
        opening = (
            f"The model was hardly trained in {_all(found.total, trainings)}, which tells nothing "
            "of fine-tuning; ROUGE differs by"
            if idle >= found.total
            else f"The model was hardly trained in {idle} of {found.total} trainings, and in the "
            "others fine-tuning did not clearly change ROUGE:"
        )
    elif found.up == found.down == 0:
        where = "the one training" if found.total == 1 else f"any of {found.total} trainings"
        opening = f"Fine-tuning did not clearly change ROUGE in {where}:"
    else:
        undecided = found.total - found.up - found.down
        opening = (
            f"Fine-tuning raised ROUGE in {found.up} of {found.total} {trainings}, lowered it in "
            f"{found.down} and left {undecided} undecided"
            f"{f', and hardly trained the model in {idle}' if idle else ''}:"
        )
    spread: Sentence = [low] if found.total == 1 else [low, " to ", high]
    level = against_floors(cited, tokenizer)
    return [*level, f" {opening} ", *spread, " points against the same model zero-shot."]


def details(study: Study, cited: CitedTables) -> list[Sentence]:
    """Content, people, the best run, groups, formats and augmentations: a sentence each."""
    tokenizer = study.settings.metric.primary
    sentences = [
        *content_alone(study, cited),
        *towards_people(study, cited),
        _best(study, cited, tokenizer),
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
    for comparison, subject, other in (
        ("chat-instruction", "the chat format", "the instruction format"),
        ("fine_tuned_templates-fine_tuned", "five instruction templates", "one instruction"),
    ):
        rows = cited.rows("differences", comparison=comparison, tokenizer=tokenizer)
        rows = [row for row in rows if row["condition"] != ZERO_SHOT]
        if rows:
            found = judge(rows)
            even = found.total - found.up - found.down
            pairs = "trained pair" if found.total == 1 else "trained pairs"
            sentences.append(
                [
                    f"{subject[0].upper() + subject[1:]} against {other}: better in {found.up}, "
                    f"worse in {found.down}, undecided in {even} of {found.total} {pairs}."
                ]
            )
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
    """Count differences that are clear after Holm's correction."""
    clear = [row for row in rows if row["p_holm"] < SIGNIFICANT]
    return Verdict(
        up=sum(row["difference"] > 0 for row in clear),
        down=sum(row["difference"] < 0 for row in clear),
        lowest=min(rows, key=lambda row: row["difference"]),
        highest=max(rows, key=lambda row: row["difference"]),
        total=len(rows),
    )


def _best(study: Study, cited: CitedTables, tokenizer: str) -> Sentence:
    row = max(cited.rows("rouge", tokenizer=tokenizer), key=lambda row: row["rouge_mean"])
    mean, low, high = (cited.cell("rouge", row, key) for key in ("rouge_mean", "ci_low", "ci_high"))
    name = _name(study, row)
    return [f"Highest mean: {name}, ", mean, " (95 % interval ", low, " to ", high, ")."]


def _name(study: Study, row: Row) -> str:
    parts = [row["model"], row["format"], CONDITION_NAMES[row["condition"]]]
    if len(study.seeds) > 1 and row["seed"] is not None:
        parts.append(f"seed {row['seed']}")
    return " · ".join(parts)


def _gain_of_group(cited: CitedTables, rows: list[Row]) -> Sentence:
    found = judge(rows)
    low = cited.cell("group_differences", found.lowest, "difference", signed=True)
    high = cited.cell("group_differences", found.highest, "difference", signed=True)
    return [
        f" Against zero-shot clearly up in {found.up}, clearly down in {found.down} of "
        f"{found.total}, by ",
        low,
        " to ",
        high,
        " points.",
    ]


def _all(total: int, word: str) -> str:
    return f"the one {word}" if total == 1 else f"all {total} {word}"
