# Functions that name the files of several rules.

from yoyak.data.reading import local_files
from yoyak.data.splits import raw_data
from yoyak.models.checkpoints import resolve_checkpoint


def raw_files(wildcards):
    """The study's raw files that exist; `local`, since a module's prefix does not apply to them.

    Of a folder those that are read in it; of a dataset on the Hub none. A missing file is not an
    input: a dry run works without data, and prepare_data.py says what to put where. In a module it
    is an input, which the other workflow's rules may make.
    """
    data, found = STUDY.settings.data, []
    for split in ("train", "dev", "test") if data.test else ("train", "dev"):
        try:
            found += [shown(file) for file in local_files(raw_data(STUDY.source, data, split))]
        except UserError:
            found += [getattr(data, split)] if IN_MODULE else []
    return [local(name) for name in found]


def checkpoint_files(wildcards):
    """Files of a local checkpoint; none for one on the Hub, or one that its script will refuse."""
    try:
        found = resolve_checkpoint(STUDY.model(wildcards.model).model)
    except UserError:
        return []
    return [shown(file) for file in found.weight_files()]


def data_files(*names):
    """Files of results/{study}/data; the test split only where the study has one."""
    splits = [name for name in names if name != "test" or STUDY.settings.data.test]
    return [f"<results>/data/{name}.csv" for name in splits]


def examples(*files):
    """These files of a training's examples."""
    return lambda wildcards: [f"<results>/{run_of(wildcards).examples}/{file}" for file in files]


# Trainings by folder that are another model's: which run takes them, and from which.
TAKEN = {
    run.folder: (run, same)
    for run in STUDY.trainings()
    if (same := same_training(STUDY, run)) != run
}


def of_same_training(file):
    return lambda wildcards: f"<results>/{TAKEN[wildcards.taken][1].folder}/{file}"


def submitted_predictions(wildcards):
    return f"<results>/{run_named(wildcards.name).folder}/predictions/test.jsonl"


def in_every_run(*files):
    """Paths of these files in the folder of every prediction set."""
    return [f"<results>/{run.folder}/{file}" for run in STUDY.runs() for file in files]


def in_every_training(*files):
    return [f"<results>/{run.folder}/{file}" for run in STUDY.trainings() for file in files]


def in_all_examples(*files):
    """Paths of these files in the examples of every model, format and augmentation."""
    folders = dict.fromkeys(run.examples for run in STUDY.trainings())
    return [f"<results>/{folder}/{file}" for folder in folders for file in files]


def predictions(run):
    """Prediction files of a run: the scored split, and the unlabelled one if there is one."""
    splits = ["dev", "test"] if STUDY.settings.data.test else ["dev"]
    return [f"{run}/predictions/{split}.jsonl" for split in splits]


def submission_files():
    """One CSV for each prediction set, where the study has a test split."""
    runs = STUDY.runs() if STUDY.settings.data.test else []
    return [f"<results>/submission/{run.name}.csv" for run in runs]


def table_names():
    """Files of tables/, without their endings."""
    several = ["seeds"] if len(STUDY.seeds) > 1 else []
    quoted = ["quoted"] if STUDY.settings.report.quoted else []
    return [*TABLES, *several, *quoted]


def table_files(ending):
    return [f"<results>/tables/{name}.{ending}" for name in table_names()]


def report_parts():
    """Templates, styles and scripts of the HTML report; its texts are a parameter."""
    folder = PROJECT / "workflow" / "report"
    parts = (".j2", ".css", ".js")
    return sorted(shown(path) for path in folder.rglob("*") if path.suffix in parts)
