# The chosen study, its paths and wildcards.

from yoyak.config.run_settings import keep_settings, study_of_run


configfile: str(PROJECT / "config" / "config.yaml")


def open_study(config):
    """The chosen study; a mistake in the settings is reported in one line before any job."""
    given = workflow.config_settings
    if IN_MODULE:
        layers = [("the module's config", config)]
    else:
        from snakemake.common.configfile import load_configfile

        files = [PROJECT / "config" / "config.yaml", *given.configfiles]
        layers = [(shown(file), load_configfile(file)) for file in files if file.is_file()]
        layers.append(("--config", given.config))
    try:
        study = study_of_run(layers, IN_MODULE)
        return study, keep_settings(study)
    except UserError as error:
        sys.exit(f"error: {error}")


def one_of(values):
    """Regular expression that matches exactly these values; of none it matches nothing."""
    return "|".join(re.escape(str(value)) for value in values) or "(?!)"


STUDY, SETTINGS_HASH = open_study(config)
note_known_targets(STUDY)


envvars:
    SETTINGS_HASH,


pathvars:
    results=f"results/{STUDY.name}",
    logs=f"logs/{STUDY.name}",


wildcard_constraints:
    model=one_of(STUDY.models),
    format=one_of(STUDY.formats),
    augmentation=one_of(STUDY.augmentations),
    condition=one_of(STUDY.trained_conditions),
    variant=one_of(STUDY.variants),
    seed=one_of(STUDY.seeds),
