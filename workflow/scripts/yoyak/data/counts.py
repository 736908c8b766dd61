"""Count a study's rows and tokens, exactly if its examples exist, else estimated from the data."""

from pathlib import Path

from yoyak.config.hub_dataset import HubDataset
from yoyak.config.model_config import ModelConfig
from yoyak.config.study import Run, Study
from yoyak.data.dialogues import load_split
from yoyak.data.prompts import AUGMENTATIONS
from yoyak.data.reading import parts_of, read_records
from yoyak.data.rows import wanted_columns
from yoyak.data.splits import data_name, raw_data
from yoyak.errors import UserError
from yoyak.run.workspace import read_json

USUAL_TOKENS = 330  # an example of the Korean DialogSum data, prompt and answer
USUAL_ROWS = {"train": 12_457, "dev": 499, "test": 499}  # of that data


def count_tokens(study: Study, run: Run, config: ModelConfig) -> tuple[int, int, int]:
    """(examples, their tokens, tokens of the longest) of a run's training set."""
    limits = config.tokenizer
    longest = limits.encoder_max_len + limits.decoder_max_len
    built = study.results / run.examples / "statistics.json"
    if built.is_file():
        counts = read_json(built, "run build_dataset.py again")["train"]
        return counts["examples"], counts["tokens"], counts["example_tokens"]["max"]
    examples = count_dialogues(study) * AUGMENTATIONS[run.augmentation]
    return examples, examples * min(USUAL_TOKENS, longest), longest


def count_dialogues(study: Study) -> int:
    """Dialogues to train on, after a slice is held out."""
    if (study.results / "data" / "train.csv").is_file():
        return count_rows(study, "train")
    data = study.settings.data
    held_out = data.selection_fraction if data.selection == "held_out" else 0
    return max(1, round(count_rows(study, "train") * (1 - held_out)))


def count_rows(study: Study, split: str) -> int:
    """Rows of a split: prepared, else raw, else as many as the Korean DialogSum data have."""
    prepared: Path = study.results / "data" / f"{split}.csv"
    if prepared.is_file():
        return len(load_split(prepared, labelled=False))
    if _absent(study, split):
        count = USUAL_ROWS[split]
    else:
        data = study.settings.data
        names = wanted_columns(data.columns.model_dump())
        parts = parts_of(raw_data(study.source, data, split))
        count = sum(len(read_records(part, names)[0]) for part in parts)
    return min(count, study.row_limits[split]) if study.row_limits else count


def absent_splits(study: Study) -> dict[str, int]:
    """The study's data that are not here, with the number of rows assumed for each."""
    return {
        data_name(study.settings.data, split): USUAL_ROWS[split]
        for split in USUAL_ROWS
        if getattr(study.settings.data, split) and _absent(study, split)
    }


def _absent(study: Study, split: str) -> bool:
    """Whether a split lies here neither prepared nor raw: it is missing, or still on the Hub."""
    if (study.results / "data" / f"{split}.csv").is_file():
        return False
    try:
        found = raw_data(study.source, study.settings.data, split)
    except UserError:
        return True
    return isinstance(found, HubDataset)
