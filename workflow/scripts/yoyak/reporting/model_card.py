"""README.md of one adapter in the Hugging Face Hub's format, with its scores as model-index."""

import re
from pathlib import Path

from yoyak.config.hub_dataset import short_name
from yoyak.config.model_config import ModelConfig
from yoyak.config.study import TRAINED, Run, Study
from yoyak.config.variants import DEFAULT
from yoyak.errors import PROJECT_ROOT
from yoyak.reporting.results import (
    CONDITION_NAMES,
    FLOOR,
    HUMAN,
    TOKENIZER_NAMES,
    Row,
    read_table,
    records,
    where,
)
from yoyak.reporting.study_tables import words
from yoyak.reporting.tables import reading_cell
from yoyak.reporting.usage import usage
from yoyak.run.workspace import read_json

MEASURES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "rouge_mean": "mean"}
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
LORA_KEYS = ("r", "alpha", "dropout", "target_modules")
TRAINING_KEYS = (
    "epochs",
    "max_steps",
    "batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_ratio",
    "weight_decay",
    "max_grad_norm",
    "early_stopping_patience",
)


def model_card(study: Study, results: Path, run: Run) -> str:
    """The card of a scored training, metadata block included.

    Raises UserError when the training record, the examples or the tables are missing.
    """
    from huggingface_hub import ModelCard

    results = Path(results)
    rows = records(where(read_table(results, "rouge"), **run.record()))
    file = results / run.folder / "run.json"
    record = read_json(file, "train this model first")
    config = ModelConfig.checked(record["settings"], file)
    place = results / run.examples
    statistics = read_json(place / "statistics.json", "run build_dataset.py first")
    generated = read_json(
        results / run.folder / "predictions" / "run.json", "run generate.py first"
    )
    parts = [
        _introduction(study, run, config, record),
        usage(config, statistics, generated["decoding"]),
        _scores(results, study, run, rows),
        _training(study, record, config, statistics),
        _limits(study, config),
    ]
    metadata = _metadata(study, run, config, rows)
    text = "\n\n".join(parts)
    return str(ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{text}\n"))


def _metadata(study: Study, run: Run, config: ModelConfig, rows: list[Row]):
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="summarization",
            task_name="Dialogue summarisation",
            dataset_type=study.source,
            dataset_name=f"{short_name(study.settings.data.dev)}, {row['n']} dialogues",
            metric_type="rouge",
            metric_name=f"{name} F1 × 100, tokenizer {row['tokenizer']}",
            metric_value=row[measure],
        )
        for row in rows
        for measure, name in MEASURES.items()
        if not study.debug  # its scores are not worth an index
    ]
    adapter = config.lora.use_lora
    tags = ["summarization", "dialogue", "yoyak"]
    tags += (["lora"] if adapter else []) + (["qlora"] if config.lora.use_qlora else [])
    tags += study.model(run.model).experiment.tags  # as they are now, not at the training
    return ModelCardData(
        language=study.language,
        base_model=_hub_name(config),
        library_name="peft" if adapter else "transformers",
        pipeline_tag="text-generation",
        tags=list(dict.fromkeys(tags)),
        metrics=["rouge"],
        model_name=run.name,
        eval_results=results or None,
    )


def _hub_name(config: ModelConfig) -> str | None:
    """The base checkpoint's Hub id; None for a local folder."""
    checkpoint = config.model.checkpoint
    local = (PROJECT_ROOT / checkpoint).exists()
    return checkpoint if HUB_NAME.fullmatch(checkpoint) and not local else None


def _introduction(study: Study, run: Run, config: ModelConfig, record: dict) -> str:
    model, lora = config.model, config.lora
    kind = "QLoRA adapter" if lora.use_qlora else "LoRA adapter"
    kind = kind if lora.use_lora else "fully fine-tuned model"
    revision = f", revision `{model.revision}`" if model.revision else ""
    variant = "" if run.variant == DEFAULT else f"variant `{run.variant}`, "
    trained = f"{CONDITION_NAMES[run.condition]}, {variant}{run.format} format, seed {run.seed}"
    debug = (
        f"**A debug run: {record['examples']:,} examples, {record['steps']:,} steps.** It shows "
        "that every step works; its scores say nothing, and it is not worth publishing.\n\n"
    )
    return (
        f"# {run.name}\n\n{debug if study.debug else ''}"
        f"A {kind} that summarises dialogues, trained from `{model.checkpoint}`{revision} in "
        f"the Yoyak study `{study.source}`: {trained}.\n\n{study.settings.description}"
    )


def _scores(results: Path, study: Study, run: Run, rows: list[Row]) -> str:
    every = read_table(results, "rouge")
    context = read_table(results, "context")
    lines = [
        "| tokenizer | row | n | R-1 | R-2 | R-L | mean | 95 % interval |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        tokenizer = row["tokenizer"]
        of_model = where(every, model=run.model, format=run.format, tokenizer=tokenizer)
        untrained = [
            (f"{CONDITION_NAMES[each['condition']]}, same base and format", each)
            for each in records(of_model)
            if each["condition"] not in TRAINED
        ]
        around = [
            (
                ("floor: " if level["name"].startswith(FLOOR) else "")
                + words("name", level["name"]),
                level,
            )
            for level in records(where(context, tokenizer=tokenizer, group="all"))
        ]
        named = [("**this model**", row), *untrained, *around]
        lines += [_score_line(tokenizer, name, values) for name, values in named]
    data, metric = study.settings.data, study.settings.metric
    chosen = (
        "was not used to choose the checkpoint"
        if data.selection == "held_out"
        else "also chose the checkpoint: read them as optimistic"
    )
    several = any(level["name"] == HUMAN for level in records(context))
    return (
        f"## Scores\n\nROUGE F1 × 100 on `{short_name(data.dev)}`, which {chosen}. "
        + (f"Over several references: {metric.references}. " if several else "")
        + "A score means nothing without its tokenizer and floor. Floors are what a text reaches "
        "that read or understood nothing.\n\n"
        + "\n".join([*_level_sentences(results, run), _of_other_seeds(results, study, run)])
        + "\n\n"
        + "\n".join(lines)
    )


def _level_sentences(results: Path, run: Run) -> list[str]:
    """A bullet for each tokenizer: the model against its strongest floor."""
    found = []
    for row in records(where(read_table(results, "levels"), group="all", **run.record())):
        low, high, by = (reading_cell(key, row[key]) for key in ("ci_low", "ci_high", "difference"))
        verdict = (
            "above every floor"
            if (row["ci_low"] or 0) > 0
            else "below the strongest floor"
            if (row["ci_high"] or 0) < 0
            else "not clearly above its strongest floor"
        )
        found.append(
            f"- {TOKENIZER_NAMES[row['tokenizer']]}: {verdict} ({words('floor', row['floor'])}): "
            f"{by} points, 95 % interval {low} to {high}, paired."
        )
    return found


def _of_other_seeds(results: Path, study: Study, run: Run) -> str:
    """A bullet that this seed is not the method, with the mean over seeds where there are several.

    It is of the primary tokenizer.
    """
    cell = {key: value for key, value in run.record().items() if key != "seed"}
    rows: list[Row] = []
    if (results / "tables" / "seeds.csv").is_file():
        table = read_table(results, "seeds")
        rows = records(where(table, tokenizer=study.settings.metric.primary, **cell))
    if not rows:  # of a study's variants only some may have several
        return (
            "- One seed: with another the same training may score otherwise; no interval says how."
        )
    row = rows[0]
    mean, sd, low, high = (
        reading_cell(key, row[key]) for key in ("rouge_mean", "sd", "ci_low", "ci_high")
    )
    interval = "" if row["ci_low"] is None else f", 95 % interval {low} to {high}"
    return (
        f"- Seed {run.seed} is one of {row['seeds']}: over all of them the same training "
        f"reaches {mean} ({TOKENIZER_NAMES[row['tokenizer']]}; standard deviation of seeds "
        f"{sd}{interval})."
    )


def _score_line(tokenizer: str, name: str, row: Row) -> str:
    values = [reading_cell(key, row[key]) for key in MEASURES]
    interval = (
        f"{reading_cell('ci_low', row['ci_low'])} to {reading_cell('ci_high', row['ci_high'])}"
    )
    cells = [TOKENIZER_NAMES[tokenizer], name, reading_cell("n", row["n"]), *values, interval]
    return "| " + " | ".join(cells) + " |"


def _training(study: Study, record: dict, config: ModelConfig, statistics: dict) -> str:
    facts = {
        "data": f"`{short_name(study.settings.data.train)}`, {record['examples']:,} examples",
        "optimiser steps": f"{record['steps']:,}, best at step {record['best_step']:,}",
        "supervised tokens": f"{record['supervised_tokens']:,}",
        "selection loss": f"{record['best_eval_loss']:.4f}",
        "prompts shortened": f"{statistics['train']['prompts_shortened']:,}",
        **{f"`{key}`": str(getattr(config.training, key)) for key in TRAINING_KEYS},
        "`learning_rate`": f"{record['learning_rate']:g}",
    }
    for key in ("loraplus_lr_ratio", "neftune_noise_alpha"):
        if (value := getattr(config.training, key)) is not None:
            facts[f"`{key}`"] = str(value)
    if config.lora.use_lora:
        facts |= {f"LoRA `{key}`": str(getattr(config.lora, key)) for key in LORA_KEYS}
        facts |= {f"LoRA `{key}`": str(value) for key, value in config.lora.peft_keys.items()}
    packages = ", ".join(f"{name} {version}" for name, version in record["packages"].items())
    commit = (record["git"] or {}).get("commit") or "not in a git checkout"
    facts |= {"commit": f"`{commit}`", "packages": packages}
    lines = [f"| {key} | {value} |" for key, value in facts.items()]
    return (
        "## Training\n\n| | |\n|---|---|\n"
        + "\n".join(lines)
        + (f"\n\nMade by\n\n```\n{record['command']}\n```")
    )


def _limits(study: Study, config: ModelConfig) -> str:
    note = study.settings.report.note
    return (
        "## Limits\n\n"
        + (f"{note}\n\n" if note else "")
        + "Summaries may leave out, repeat or invent; read them beside the dialogue. The licences "
        f"of the base model (`{config.model.checkpoint}`) and of the training "
        "data apply to this model; state them before publishing it."
    )
