"""Which study Snakemake runs: config/config.yaml, --configfile, --config or a module's config."""

import hashlib
import itertools
import os
from collections.abc import Iterable, Mapping

from yoyak.config.frozen import STEPS, freeze
from yoyak.config.study import Study, load_study
from yoyak.config.study_settings import RunSettings
from yoyak.errors import UserError

TOLD_APART = ("study", "debug")  # not a mistyped key of ours: many workflows have a key `seed`
MISTYPED = 2  # edit distance up to which a key counts as a mistyped one of ours
WORDS = {"true": True, "false": False}  # `--config` passes these YAML values on as text


def study_of_run(layers: Iterable[tuple[str, Mapping]], in_module: bool = False) -> Study:
    """The study that these settings choose; later layers override earlier ones.

    Args:
        layers: (source for error messages, settings).
        in_module: the other workflow's keys are among ours; they are ignored unless they look like
            a mistyped key of ours.

    Raises UserError for a mistake in them, in the study or in one of its models.
    """
    settings = RunSettings()
    for place, content in layers:
        if in_module:
            content = _ours(content, place)
        content = {key: _value(key, value) for key, value in content.items() if key != "pathvars"}
        settings = RunSettings.checked({**settings.model_dump(), **content}, place)
    return load_study(settings.study, settings.debug, settings.seeds, settings.variants)


def settings_hash(study: Study) -> str:
    """One hash of all settings that decide the study's results."""
    texts = []
    for step, (_, of_model) in STEPS.items():
        variants = study.variants if step == "train" else [None]
        models = study.models if of_model else [None]
        texts += [freeze(study, step, *of) for of in itertools.product(models, variants)]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def keep_settings(study: Study) -> str:
    """Record the settings hash in the environment of every Snakemake that this one starts; returns
    the variable's name.

    On a cluster each job reads the settings again; UserError if they have changed since the run was
    planned.
    """
    name = "YOYAK_SETTINGS_" + hashlib.sha256(study.name.encode()).hexdigest()[:8]
    now = settings_hash(study)
    if os.environ.setdefault(name, now) != now:
        raise UserError(
            f"the settings of study '{study.name}' were edited after this run was planned; the job "
            "is not run with others: put them back, or stop and start Snakemake again"
        )
    return name


def _ours(content: Mapping, place: str) -> dict:
    known = RunSettings.model_fields
    for key in content.keys() - known.keys():
        near = next((name for name in TOLD_APART if _distance(str(key), name) <= MISTYPED), None)
        if near:
            raise UserError(f"{place}: unknown key '{key}'; did you mean '{near}'?")
    return {key: content[key] for key in known if key in content}


def _value(key: str, value: object) -> object:
    if key == "study" and isinstance(value, int):  # a name of digits
        return str(value)
    if key == "seeds" and isinstance(value, list):
        return [int(seed) if str(seed).isdecimal() else seed for seed in value]
    return WORDS.get(str(value).lower(), value) if key == "debug" else value


def _distance(one: str, other: str) -> int:
    """Letters to insert, drop or change to make one word of the other (Levenshtein 1966)."""
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one, start=1):
        before, row = row, [place]
        for column, wanted in enumerate(other, start=1):
            changed = before[column - 1] + (letter != wanted)
            row.append(min(changed, before[column] + 1, row[-1] + 1))
    return row[-1]
