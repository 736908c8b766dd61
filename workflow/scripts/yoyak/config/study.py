"""A study: the grid of models × formats × augmentations × seeds, and the runs of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yoyak.config.loading import (
    deep_merge,
    load_config,
    load_yaml,
    overridden,
    settings_file,
)
from yoyak.config.model_config import ModelConfig
from yoyak.config.prompt_files import find_prompts
from yoyak.config.study_settings import StudySettings
from yoyak.config.variants import (
    DEFAULT,
    SEEDS,
    check_variants,
    chosen_variants,
    debug_values,
    varied,
    without_seeds,
)
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
    variant: str = DEFAULT  # of the training; untrained it is the same for all

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
        variant = "" if self.variant == DEFAULT else f"-{self.variant}"
        seed = f"-seed{self.seed}" if self.trained else ""
        return f"{self.model}-{self.format}-{self.condition}{variant}{seed}"

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
            "variant": self.variant if self.trained else None,
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
    models: dict[str, ModelConfig]  # as all variants have them

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
    def variants(self) -> list[str]:
        """Names, the one that the questions are asked of first."""
        return list(self.settings.variants) or [DEFAULT]

    @property
    def seeds(self) -> list[int]:
        """Of all variants."""
        return list(dict.fromkeys(seed for name in self.variants for seed in self.seeds_of(name)))

    def seeds_of(self, variant: str) -> list[int]:
        return self.settings.variants.get(variant, {}).get(SEEDS) or self.settings.seeds

    @property
    def score_rows(self) -> list[tuple[str, str | None]]:
        """Condition and variant of each row that a model and format have, untrained first."""
        trained: list[tuple[str, str | None]]
        trained = [(name, variant) for variant in self.variants for name in self.trained_conditions]
        return [(name, None) for name in self.conditions if name not in TRAINED] + trained

    @property
    def language(self) -> str:
        return self.settings.language

    @property
    def row_limits(self) -> dict[str, int] | None:
        """Rows a split may have at most: none outside debug."""
        return DEBUG_ROWS if self.debug else None

    def trainings(self) -> list[Run]:
        return [
            Run(model, prompt_format, condition, seed, variant)
            for model in self.models
            for prompt_format in self.formats
            for variant in self.variants
            for condition in self.trained_conditions
            for seed in self.seeds_of(variant)
        ]

    def runs(self) -> list[Run]:
        """Every row in the order of the tables: each model and format, untrained first."""
        runs = []
        for run in self.trainings():
            untrained = [run.zero_shot, run.few_shot] if self.settings.few_shot else [run.zero_shot]
            runs += [run] if run.zero_shot in runs else [*untrained, run]
        return runs

    def model(self, name: str, variant: str | None = None) -> ModelConfig:
        """Effective config of one of the study's models; UserError if the study lacks it.

        variant: whose training it is for; None: for a step that is the same for all of them.
        """
        if name not in self.models:
            known = ", ".join(self.models)
            raise UserError(f"model '{name}' is not in study '{self.source}' (it has: {known})")
        config = self.models[name]
        return varied(config, self.settings, variant, self.debug) if variant else config


def load_study(
    name: str,
    debug: bool = False,
    seeds: list[int] | None = None,
    variants: list[str] | None = None,
) -> Study:
    """Read config/studies/{name}.yaml and every model file that it names.

    seeds: in place of the study's and of its variants'. variants: these of the study's alone.

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
    if variants:
        settings = chosen_variants(settings, variants, display(path))
    if seeds:
        update = {"seeds": seeds, "variants": without_seeds(settings)}
        settings = settings.model_copy(update=update)
    _check_metric(settings, display(path))
    models = {}
    for model in settings.models:
        try:
            config = load_config(model)
        except UserError as error:  # the model's own fault, or a name that no file has
            raise UserError(f"{display(path)}: models: {error}") from None
        # Valid by itself, so that a fault found now is the overrides'.
        config = overridden(config, settings.overrides, f"{display(path)}: overrides")
        models[model] = with_prompts(config, settings)
        for prompt_format in settings.formats:
            for augmentation in settings.augmentations:
                models[model].prompted(prompt_format, augmentation, settings.few_shot)
    check_variants(settings, models, display(path), debug)
    return Study(source=name, debug=debug, settings=settings, models=models)


def _debug_settings(settings: StudySettings, path: Path) -> StudySettings:
    """The study as `debug=true` has it: the usual debug values, then the study's own `debug:`."""
    own = settings.debug.model_dump(exclude_none=True)
    own.pop("overrides", None)
    if "seeds" in own:
        settings = settings.model_copy(update={"variants": without_seeds(settings)})
    changed = deep_merge(settings.model_dump(), own)
    changed["overrides"] = deep_merge(changed["overrides"], debug_values(settings))
    return StudySettings.checked(changed, path)


def with_prompts(config: ModelConfig, settings: StudySettings) -> ModelConfig:
    """A model's config with the texts of its own prompts, or else of the study's."""
    named = config.prompts or settings.prompts
    return config.model_copy(update={"prompts": find_prompts(named, settings.language)})


def _check_metric(settings: StudySettings, source: str) -> None:
    metric = settings.metric
    if metric.primary not in metric.tokenizers:
        raise UserError(
            f"{source}: metric.primary: found '{metric.primary}', must be one of "
            f"metric.tokenizers ({', '.join(metric.tokenizers)})"
        )
    if "rouge" not in metric.metrics:
        raise UserError(
            f"{source}: metric.metrics: found {', '.join(metric.metrics)}, must have 'rouge': its "
            "primary tokenizer answers the question"
        )
    if "bertscore" in metric.metrics and metric.bertscore.checkpoint is None:
        raise UserError(
            f"{source}: metric.bertscore.checkpoint: missing, which 'bertscore' in metric.metrics "
            "needs; name the folder of an encoder"
        )
    if settings.language == "ko" and "english" in metric.tokenizers:
        raise UserError(
            f"{source}: metric.tokenizers: found 'english' in a Korean study, which drops all but "
            "a-z and 0-9, so that Korean text would score 0; use morphemes, characters or words"
        )
