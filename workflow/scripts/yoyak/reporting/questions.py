"""The answers to the study's questions in words: as far as its seeds and dialogues carry them."""

from yoyak.config.study import Study
from yoyak.reporting.cited import CitedTables, Sentence
from yoyak.reporting.results import Row, hardly_trained

FIRST = "fine_tuned-zero_shot"
OTHERS = {
    "fine_tuned_templates-fine_tuned": "Five instruction templates against one instruction",
    "chat-instruction": "The chat format against the instruction format",
}


def headline(study: Study, cited: CitedTables) -> Sentence:
    """What fine-tuning changes: the pooled difference from zero-shot, and how sure it is.

    It never says of a model that was hardly trained that fine-tuning did not change it.
    """
    row = _first_question(cited)
    variant = study.variants[0]
    idle = len(hardly_trained(cited.rows("diagnostics", variant=variant)))
    total = row["trainings"] * row["seeds"]
    of = f" of variant {variant}" if len(study.variants) > 1 else ""
    where = f"the one training{of}" if total == 1 else f"{total} trainings{of}"
    change = _difference(cited, row)
    some = f"; {idle} of them hardly trained the model" if idle else ""
    if row["verdict"] == "up":
        text: Sentence = [f"Fine-tuning raised ROUGE in {_mean_of(where)} by ", *change]
    elif row["verdict"] == "down":
        text = [f"Fine-tuning lowered ROUGE in {_mean_of(where)}: ", *change]
    elif some:
        which = f"all {total} trainings" if 1 < total == idle else f"{idle} of {where}"
        which = "the one training" if total == 1 else which
        text = [f"The model was hardly trained in {which}, which tells nothing of fine-tuning; "]
        text += ["ROUGE differs by ", *change]
        some = ""
    elif row["verdict"] == "undecided":
        text = [f"Fine-tuning did not clearly change ROUGE in {_mean_of(where)}: ", *change]
    else:
        text = [f"Fine-tuning changed ROUGE in {_mean_of(where)} by ", *change]
    return [*text, " against the same model zero-shot", *_basis(cited, row), some, "."]


def question_sentences(study: Study, cited: CitedTables) -> list[Sentence]:
    """What one seed leaves open, then templates and formats: a sentence each."""
    first = _first_question(cited)
    told = [row for name in OTHERS if (row := _pooled(cited, name))]
    own = study.seeds_of(study.variants[0])
    seeds = len(own)
    sentences: list[Sentence] = []
    if seeds == 1:
        text = "One seed: training noise is outside all intervals, which speak of these trainings"
        text += "; nothing is claimed about templates or formats." if told else "."
        sentences.append([text])
    elif seeds == 2:
        sentences.append([f"Two seeds ({own[0]}, {own[1]}) allow no interval, and no claim."])
    if first["clusters"] < first["n"]:
        n, count = (cited.cell("questions", first, key) for key in ("n", "clusters"))
        text = " kinds (topics, or what the data call clusters); intervals count kinds."
        sentences.append([n, " dialogues are of ", count, text])
    if seeds > 1:
        for row in told:
            sentences.append(_of_question(cited, row))
    return sentences


def _of_question(cited: CitedTables, row: Row) -> Sentence:
    verdicts = {
        "up": "better by ",
        "down": "worse: ",
        "undecided": "undecided: ",
        "not tested": "not tested, since an earlier question is undecided: ",
    }
    words = verdicts.get(row["verdict"], "no claim: ")
    return [
        f"{OTHERS[row['comparison']]}, {words}",
        *_difference(cited, row),
        *_basis(cited, row),
        ".",
    ]


def _first_question(cited: CitedTables) -> Row:
    row = _pooled(cited, FIRST)
    assert row is not None  # every study trains something
    return row


def _pooled(cited: CitedTables, name: str) -> Row | None:
    found = [row for row in cited.rows("questions", comparison=name) if row["verdict"]]
    return found[0] if found else None


def _difference(cited: CitedTables, row: Row) -> Sentence:
    signed = row["verdict"] not in ("up",)
    if row["seeds"] != 2:
        return [cited.cell("questions", row, "difference", signed=signed), " points"]
    pair = [one for one in cited.rows("questions", comparison=row["comparison"]) if one["seed"]
            is not None]  # fmt: skip
    first, second = (cited.cell("questions", one, "difference", signed=True) for one in pair)
    return [first, " points with one seed and ", second, " with the other"]


def _basis(cited: CitedTables, row: Row) -> Sentence:
    """Interval, p, and what an undecided question could have told."""
    low, high, p_value, smallest = (
        cited.cell("questions", row, key) for key in ("ci_low", "ci_high", "p_value", "detectable")
    )
    if low is None:
        return []
    text: Sentence = [" (95 % interval ", low, " to ", high]
    if p_value is not None:
        text += [", p ", *(["= "] if p_value.text[:1] != "≤" else []), p_value]
    if row["verdict"] == "undecided":
        text += ["; so many dialogues and seeds tell ", smallest, " at 80 % power"]
    return [*text, ")"]


def _mean_of(where: str) -> str:
    return where if where.startswith("the one training") else f"the mean of {where}"
