"""README.md of one adapter in the Hugging Face Hub's format, with its scores as model-index."""

import re
from pathlib import Path

from yoyak.config.hub_dataset import short_name
from yoyak.config.model_config import ModelConfig
from yoyak.config.study import TRAINED, Run, Study
from yoyak.config.trained import recorded_config
from yoyak.config.variants import DEFAULT
from yoyak.errors import PROJECT_ROOT
from yoyak.reporting.results import (
    FLOOR,
    HUMAN,
    Row,
    context_name,
    read_table,
    records,
    where,
)
from yoyak.reporting.tables import reading_cell
from yoyak.reporting.texts import Texts, texts_of
from yoyak.reporting.usage import usage
from yoyak.run.workspace import read_json

MEASURES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "rouge_mean": None}
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
    config = recorded_config(record["settings"], file)
    place = results / run.examples
    statistics = read_json(place / "statistics.json", "run build_dataset.py first")
    generated = read_json(
        results / run.folder / "predictions" / "run.json", "run generate.py first"
    )
    parts = [
        _introduction(study, run, config, record),
        usage(texts_of(study), config, statistics, generated["decoding"]),
        _scores(results, study, run, rows),
        _training(study, record, config, statistics),
        _limits(study, config),
    ]
    metadata = _metadata(study, run, config, rows)
    text = "\n\n".join(parts)
    return str(ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{text}\n"))


def _metadata(study: Study, run: Run, config: ModelConfig, rows: list[Row]):
    from huggingface_hub import EvalResult, ModelCardData

    texts, dev = texts_of(study), short_name(study.settings.data.dev)
    mean = texts("headings.rouge_mean")
    results = [
        EvalResult(
            task_type="summarization",
            task_name=texts("card.task"),
            dataset_type=study.source,
            dataset_name=texts("card.dataset", name=dev, n=row["n"]),
            metric_type="rouge",
            metric_name=texts("card.metric", name=name or mean, tokenizer=row["tokenizer"]),
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
    texts, model, lora = texts_of(study), config.model, config.lora
    kind = "qlora" if lora.use_qlora else "lora" if lora.use_lora else "full"
    revision = texts("card.revision", revision=model.revision) if model.revision else ""
    variant = "" if run.variant == DEFAULT else texts("card.variant", variant=run.variant)
    trained = texts(
        "card.trained",
        condition=texts(f"conditions.{run.condition}"),
        variant=variant,
        format=run.format,
        seed=run.seed,
    )
    introduction = texts(
        "card.introduction",
        kind=texts(f"card.{kind}"),
        checkpoint=model.checkpoint,
        revision=revision,
        study=study.source,
        trained=trained,
    )
    counts = {key: f"{record[key]:,}" for key in ("examples", "steps")}
    debug = [texts("card.debug", **counts)] if study.debug else []
    parts = [f"# {run.name}", *debug, introduction, study.settings.description]
    return "\n\n".join(parts)


def _scores(results: Path, study: Study, run: Run, rows: list[Row]) -> str:
    texts = texts_of(study)
    every = read_table(results, "rouge")
    context = read_table(results, "context")
    lines = [texts("card.columns"), "|---|---|---:|---:|---:|---:|---:|---|"]
    for row in rows:
        tokenizer = row["tokenizer"]
        of_model = where(every, model=run.model, format=run.format, tokenizer=tokenizer)
        untrained = [
            (texts("card.untrained", condition=texts(f"conditions.{each['condition']}")), each)
            for each in records(of_model)
            if each["condition"] not in TRAINED
        ]
        around = [
            (_level_name(texts, level["name"]), level)
            for level in records(where(context, tokenizer=tokenizer, group="all"))
        ]
        named = [(texts("card.this_model"), row), *untrained, *around]
        tokenizer_name = texts(f"tokenizers.{tokenizer}")
        lines += [_score_line(texts, tokenizer_name, name, values) for name, values in named]
    data, metric = study.settings.data, study.settings.metric
    several = any(level["name"] == HUMAN for level in records(context))
    scored = texts(
        "card.scored",
        file=short_name(data.dev),
        chosen=texts("card.held_out" if data.selection == "held_out" else "card.dev_chose"),
        references=texts("card.references", references=texts.recorded(metric.references))
        if several
        else "",
    )
    bullets = [*_level_sentences(texts, results, run), _of_other_seeds(results, study, run)]
    parts = [f"## {texts('card.scores')}", scored, "\n".join(bullets), "\n".join(lines)]
    return "\n\n".join(parts)


def _level_name(texts: Texts, name: str) -> str:
    named = context_name(texts, name)
    return texts("levels.floor", name=named) if name.startswith(FLOOR) else named


def _level_sentences(texts: Texts, results: Path, run: Run) -> list[str]:
    """A bullet for each tokenizer: the model against its strongest floor."""
    found = []
    for row in records(where(read_table(results, "levels"), group="all", **run.record())):
        above, below = (row["ci_low"] or 0) > 0, (row["ci_high"] or 0) < 0
        verdict = "above" if above else "below" if below else "neither"
        found.append(
            texts(
                "card.level",
                tokenizer=texts(f"tokenizers.{row['tokenizer']}"),
                verdict=texts(f"card.{verdict}"),
                floor=context_name(texts, row["floor"]),
                difference=reading_cell("difference", row["difference"]),
                **_interval(row),
            )
        )
    return found


def _interval(row: Row) -> dict[str, str]:
    return {end: reading_cell(f"ci_{end}", row[f"ci_{end}"]) for end in ("low", "high")}


def _of_other_seeds(results: Path, study: Study, run: Run) -> str:
    """A bullet that this seed is not the method, with the mean over seeds where there are several.

    It is of the primary tokenizer.
    """
    texts = texts_of(study)
    cell = {key: value for key, value in run.record().items() if key != "seed"}
    rows: list[Row] = []
    if (results / "tables" / "seeds.csv").is_file():
        table = read_table(results, "seeds")
        rows = records(where(table, tokenizer=study.settings.metric.primary, **cell))
    if not rows:  # of a study's variants only some may have several
        return texts("card.one_seed")
    row = rows[0]
    return texts(
        "card.of_seeds",
        seed=run.seed,
        seeds=row["seeds"],
        mean=reading_cell("rouge_mean", row["rouge_mean"]),
        tokenizer=texts(f"tokenizers.{row['tokenizer']}"),
        sd=reading_cell("sd", row["sd"]),
        interval="" if row["ci_low"] is None else texts("card.interval", **_interval(row)),
    )


def _score_line(texts: Texts, tokenizer: str, name: str, row: Row) -> str:
    values = [reading_cell(key, row[key]) for key in MEASURES]
    interval = texts("card.range", **_interval(row))
    return (
        "| " + " | ".join([tokenizer, name, reading_cell("n", row["n"]), *values, interval]) + " |"
    )


def _training(study: Study, record: dict, config: ModelConfig, statistics: dict) -> str:
    texts, file = texts_of(study), short_name(study.settings.data.train)
    steps, best = f"{record['steps']:,}", f"{record['best_step']:,}"
    shortened = statistics["train"]["prompts_shortened"]
    facts = {
        "data": texts("card.examples", file=file, examples=f"{record['examples']:,}"),
        "steps": texts("card.best_step", steps=steps, best=best),
        "supervised": f"{record['supervised_tokens']:,}",
        "selection_loss": f"{record['best_eval_loss']:.4f}",
        "shortened": f"{shortened:,}",
    }
    facts = {texts(f"card.{key}"): value for key, value in facts.items()}
    facts |= {f"`{key}`": str(getattr(config.training, key)) for key in TRAINING_KEYS}
    facts["`learning_rate`"] = f"{record['learning_rate']:g}"
    for key in ("loraplus_lr_ratio", "neftune_noise_alpha"):
        if (value := getattr(config.training, key)) is not None:
            facts[f"`{key}`"] = str(value)
    if config.lora.use_lora:
        facts |= {f"LoRA `{key}`": str(getattr(config.lora, key)) for key in LORA_KEYS}
        facts |= {f"LoRA `{key}`": str(value) for key, value in config.lora.peft_keys.items()}
    packages = ", ".join(f"{name} {version}" for name, version in record["packages"].items())
    commit = (record["git"] or {}).get("commit") or texts("page.no_commit")
    facts |= {texts("card.commit"): f"`{commit}`", texts("card.packages"): packages}
    lines = [f"| {key} | {value} |" for key, value in facts.items()]
    return (
        f"## {texts('card.training')}\n\n| | |\n|---|---|\n"
        + "\n".join(lines)
        + f"\n\n{texts('card.made_by')}\n\n```\n{record['command']}\n```"
    )


def _limits(study: Study, config: ModelConfig) -> str:
    texts, note = texts_of(study), study.settings.report.note
    text = texts("card.limits_text", checkpoint=config.model.checkpoint)
    return "\n\n".join([f"## {texts('card.limits')}", *([note] if note else []), text])
