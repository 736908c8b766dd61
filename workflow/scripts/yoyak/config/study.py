"""A study: the grid of models × formats × augmentations × seeds, and the runs of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yoyak.config.loading import (
    DEBUG_VALUES,
    deep_merge,
    load_config,
    load_yaml,
    overridden,
    settings_file,
)
from yoyak.config.model_config import ModelConfig
from yoyak.config.study_settings import StudySettings
from yoyak.errors import UserError, display

DEBUG_ROWS = {"train": 50, "dev": 10, "test": 10}
ZERO_SHOT, FEW_SHOT = "zero_shot", "few_shot"
CONDITIONS = {"none": "fine_tuned", "templates": "fine_tuned_templates"}  # by augmentation
TRAINED = tuple(CONDITIONS.values())


@dataclass(frozen=True)
class Run:
    """One row of the tables: a model zero-shot, or after one training.

    Its paths, labels, record and table keys all come from here.
    """

    model: str
    format: str
    condition: str = ZERO_SHOT
    seed: int | None = None  # of the training
    variant: str = "default"  # of the model's settings

    @property
    def trained(self) -> bool:
        return self.condition in TRAINED

    @property
    def augmentation(self) -> str:
        """The augmentation of the training's examples, as study file and --augmentation name it."""
        return next(name for name, condition in CONDITIONS.items() if condition == self.condition)

    @property
    def folder(self) -> str:
        """Folder of its predictions/, scores/ and final_model/ below results/{study}/."""
        if not self.trained:
            return f"{self.condition}/{self.model}/{self.format}"
        return f"runs/{self.model}/{self.variant}/{self.format}/{self.condition}/seed{self.seed}"

    @property
    def examples(self) -> str:
        """Folder of what it is trained on, below results/{study}/."""
        return f"examples/{self.model}/{self.format}/{self.augmentation}"

    @property
    def name(self) -> str:
        """Name for a file outside its folder, such as a submission."""
        seed = f"-seed{self.seed}" if self.trained else ""
        return f"{self.model}-{self.format}-{self.condition}{seed}"

    @property
    def loss_plot(self) -> str:
        """Name of the plot of its losses, without an ending."""
        return f"loss-{self.name}"

    @property
    def zero_shot(self) -> "Run":
        """The same model and format before any training."""
        return Run(self.model, self.format)

    @property
    def few_shot(self) -> "Run":
        """The same model and format before any training, with examples in its prompts."""
        return Run(self.model, self.format, FEW_SHOT)

    def record(self) -> dict:
        """The run as run.json and the tables name it."""
        return {
            "model": self.model,
            "format": self.format,
            "condition": self.condition,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Study:
    """A study file with its defaults filled in and the effective config of each of its models."""

    source: str
    debug: bool
    settings: StudySettings
    models: dict[str, ModelConfig]

    @property
    def name(self) -> str:
        """Folder of the results; a debug run never mixes with the real one."""
        return f"{self.source}-debug" if self.debug else self.source

    @property
    def results(self) -> Path:
        """Relative to the working directory, so that `snakemake --directory` moves it."""
        return Path("results") / self.name

    @property
    def formats(self) -> Sequence[str]:
        return self.settings.formats

    @property
    def augmentations(self) -> Sequence[str]:
        return self.settings.augmentations

    @property
    def conditions(self) -> list[str]:
        few_shot = [FEW_SHOT] if self.settings.few_shot else []
        return [ZERO_SHOT, *few_shot, *self.trained_conditions]

    @property
    def trained_conditions(self) -> list[str]:
        return [CONDITIONS[augmentation] for augmentation in self.augmentations]

    @property
    def seeds(self) -> list[int]:
        return self.settings.seeds

    @property
    def language(self) -> str:
        return self.settings.language

    @property
    def row_limits(self) -> dict[str, int] | None:
        """Rows a split may have at most: none outside debug."""
        return DEBUG_ROWS if self.debug else None

    def trainings(self) -> list[Run]:
        return [
            Run(model, prompt_format, condition, seed)
            for model in self.models
            for prompt_format in self.formats
            for condition in self.trained_conditions
            for seed in self.seeds
        ]

    def runs(self) -> list[Run]:
        """Every row in the order of the tables: each model and format, untrained first."""
        runs = []
        for run in self.trainings():
            untrained = [run.zero_shot, run.few_shot] if self.settings.few_shot else [run.zero_shot]
            runs += [run] if run.zero_shot in runs else [*untrained, run]
        return runs

    def model(self, name: str) -> ModelConfig:
        """Effective config of one of the study's models; UserError if the study lacks it."""
        if name not in self.models:
            known = ", ".join(self.models)
            raise UserError(f"model '{name}' is not in study '{self.source}' (it has: {known})")
        return self.models[name]


def load_study(name: str, debug: bool = False, seeds: list[int] | None = None) -> Study:
    """Read config/studies/{name}.yaml and every model file that it names.

    seeds: in place of the study's.

    Raises UserError for an unknown study or model, an unknown key or a bad value.
    """
    path = settings_file("study", name)
    if name.endswith("-debug"):
        raise UserError(
            f"{display(path)}: the results of a debug run lie in a folder of such a name; rename "
            "this study so that it does not end in -debug"
        )
    settings = StudySettings.checked(load_yaml(path), path)
    if debug:
        settings = _debug_settings(settings, path)
    if seeds:
        settings = settings.model_copy(update={"seeds": seeds})
    _check_metric(settings, display(path))
    models = {}
    for model in settings.models:
        try:
            config = load_config(model)
        except UserError as error:  # the model's own fault, or a name that no file has
            raise UserError(f"{display(path)}: models: {error}") from None
        # Valid by itself, so that a fault found now is the overrides'.
        models[model] = overridden(config, settings.overrides, f"{display(path)}: overrides")
    return Study(source=name, debug=debug, settings=settings, models=models)


def _debug_settings(settings: StudySettings, path: Path) -> StudySettings:
    """The study as `debug=true` has it: the usual debug values, then the study's own `debug:`."""
    own = settings.debug.model_dump(exclude_none=True)
    overrides = own.pop("overrides", {})
    changed = deep_merge(settings.model_dump(), own)
    for values in (DEBUG_VALUES, overrides):
        changed["overrides"] = deep_merge(changed["overrides"], values)
    return StudySettings.checked(changed, path)


def _check_metric(settings: StudySettings, source: str) -> None:
    metric = settings.metric
    if metric.primary not in metric.tokenizers:
        raise UserError(
            f"{source}: metric.primary: found '{metric.primary}', must be one of "
            f"metric.tokenizers ({', '.join(metric.tokenizers)})"
        )
    if settings.language == "ko" and "english" in metric.tokenizers:
        raise UserError(
            f"{source}: metric.tokenizers: found 'english' in a Korean study, which drops all but "
            "a-z and 0-9, so that Korean text would score 0; use morphemes, characters or words"
        )
