"""A training by hand without a study: a model file with its own data, as a study of one model."""

from pathlib import Path

from yoyak.config.model_config import ModelConfig
from yoyak.config.study import Study, with_prompts
from yoyak.config.study_settings import PRIMARY, StudySettings
from yoyak.data.splits import find_raw
from yoyak.errors import PROJECT_ROOT, UserError
from yoyak.run.workspace import read_json

RAW, EMBEDDED = "data/raw", "workflow/resources/dialogues"
BUILD = "build the examples again (build_dataset.py)"
EMBEDDED_MODELS = PROJECT_ROOT / "workflow" / "resources" / "models"


def own_study(experiment: str, config: ModelConfig, debug: bool = False) -> Study:
    """The model file with data/raw/{train,dev}.csv, an embedded model with the embedded dialogues.

    It trains on all of train.csv and chooses its best checkpoint on dev.csv. Nothing is read yet.
    config: that of the model file `experiment`, with debug values if requested.
    """
    folder = EMBEDDED if _is_embedded(config) else RAW
    settings = {
        "description": "One model on its own data, by hand.",
        "language": "ko",
        "data": {"train": f"{folder}/train.csv", "dev": f"{folder}/dev.csv", "selection": "dev"},
        "models": [experiment],
        "formats": [config.dataset.format_type],
        "augmentations": ["none"],
        "seeds": [42],
        "metric": {"primary": PRIMARY["ko"], "tokenizers": [PRIMARY["ko"]]},
    }
    checked = StudySettings.checked(settings, "a command by hand")
    return Study("manual", debug, checked, {experiment: with_prompts(config, checked)})


def check_own_data(study: Study) -> None:
    """Raise UserError that says what to put where, unless both files are there."""
    data = study.settings.data
    missing = [file for file in (data.train, data.dev) if find_raw(file) is None]
    if missing:
        raise UserError(
            f"{' and '.join(missing)}: no such file, and no --study is named; put the dialogues to "
            f"train on into {data.train} and those to evaluate on into {data.dev} (CSV, UTF-8, "
            "columns fname,dialogue,summary), or name the data of a study with --study"
        )


def example_record(examples: Path) -> dict:
    """run.json of tokenised examples; UserError when it is missing."""
    return read_json(examples / "run.json", BUILD)


def describe_data(examples: Path) -> str:
    """One line: the files and numbers of dialogues for training and for choosing the checkpoint.

    Raises UserError when the examples lack their record or statistics.
    """
    counts, data = read_json(examples / "statistics.json", BUILD), example_record(examples)["data"]
    chosen_on = (
        data["dev"] if data["selection"] == "dev" else f"a slice held out of {data['train']}"
    )
    train, selection = counts["train"], counts["selection"]
    return (
        f"training on {data['train']}: {train['dialogues']:,} dialogues, {train['examples']:,} "
        f"examples; the best checkpoint is chosen on {chosen_on}: {selection['dialogues']:,} "
        "dialogues"
    )


def _is_embedded(config: ModelConfig) -> bool:
    checkpoint = Path(config.model.checkpoint)
    return (PROJECT_ROOT / checkpoint).is_relative_to(EMBEDDED_MODELS)
