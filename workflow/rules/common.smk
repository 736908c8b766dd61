# Functions shared by the rule files. They find the study, the scripts with their code, and folders.

import contextlib
import os
import re
import shlex
import sys
from pathlib import Path

PROJECT = Path(workflow.basedir)
sys.path.append(str(PROJECT / "workflow" / "scripts"))

from yoyak.data.splits import raw_file
from yoyak.models.checkpoints import resolve_checkpoint
from yoyak.run.clock import check_clock
from yoyak.run.code_digest import step_digest
from yoyak.config.study import Run, load_study
from yoyak.config.study_settings import RunSettings
from yoyak.errors import UserError, speak_utf8

speak_utf8()

# Of one training: below runs/, logs/train/, benchmarks/train/, …
TRAINING = "{model}/{variant}/{format}/{condition}/seed{seed}"
TRAINED = f"<results>/runs/{TRAINING}"
TABLES = "rouge groups differences group_differences context diagnostics resources".split()

# `python` in a shell command is the Python that runs Snakemake, even where no environment is
# active; under `--sdm conda` the job's own environment still goes before it.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
)

# A shell that is told to end waits for its program instead of leaving it behind: the trainer is told
# so, too (by SLURM before a time limit, say), saves, and its exit code 75 arrives here.
shell.prefix("set -euo pipefail; trap : TERM USR1; ")


def open_study(config):
    """The chosen study; a mistake in the settings or the targets ends in one line, before any job."""
    if re.search("[{}]", str(PROJECT)):  # config paths with them are refused by the schemas
        sys.exit(f"error: {PROJECT}: Snakemake takes braces for wildcards; rename this folder")
    words = {"true": True, "false": False}  # what YAML reads as such, `--config` hands on as text
    config["debug"] = words.get(str(config.get("debug")).lower(), config.get("debug"))
    try:
        chosen = RunSettings.checked(config, PROJECT / "config" / "config.yaml")
        study = load_study(chosen.study, debug=chosen.debug)
        check_clock([study.results, PROJECT / "workflow"])
        for before, target in zip(sys.argv, sys.argv[1:]):
            if not before.startswith("--"):  # else it is the value of an option
                check_target(study, target)
        return study
    except UserError as error:
        sys.exit(f"error: {error}")


def check_target(study, target):
    """Refuse a target below results/ whose study, model, format, … the study does not have."""
    parts = target.split("/")
    if len(parts) < 3 or parts[0] != "results":
        return
    if parts[1] != study.name:
        raise UserError(
            f"{target}: this run is study '{study.name}'; choose another with "
            f"--config study=NAME, and its small version with debug=true"
        )
    allowed = {
        "model": list(study.models),
        "variant": ["default"],
        "format": study.formats,
        "augmentation": study.augmentations,
        "condition": study.trained_conditions,
        "seed": [f"seed{seed}" for seed in study.seeds],
    }
    levels = {
        "runs": ("model", "variant", "format", "condition", "seed"),
        "examples": ("model", "format", "augmentation"),
        "zero_shot": ("model", "format"),
    }
    if parts[2] in levels:
        for level, part in zip(levels[parts[2]], parts[3:]):
            known = allowed[level]
            if part not in known:
                raise UserError(
                    f"{target}: {level} '{part}' is not in study '{study.name}' "
                    f"(it has: {', '.join(known)}); add it to config/studies/{study.source}.yaml"
                )


def one_of(values):
    """Regular expression that matches exactly these values."""
    return "|".join(re.escape(str(value)) for value in values)


def script(name):
    """A script's path as a person types it: relative, unless `--directory` is another folder."""
    return shown(PROJECT / "workflow" / "scripts" / name)


def digest(step):
    """Digest of the code that a step runs: a change of it, and not of a comment, replans."""
    try:
        return step_digest(step)
    except UserError as error:
        sys.exit(f"error: {error}")


def shown(path):
    path, here = Path(path), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def study_flags():
    """The arguments by which a script opens the same study."""
    return f"--study {shlex.quote(STUDY.source)}" + (" --debug" if STUDY.debug else "")


def settings(step):
    """Canonical text of the settings that a step depends on: a change of it, and no other, replans."""

    def text(wildcards):
        return STUDY.science(step, model=wildcards.get("model"))

    return text


def folder_of(name):
    """Folder of the output called `name`: what a script takes as --output-dir."""
    return lambda wildcards, output: str(Path(output[name]).parent)


def folder_of_input(name):
    """Folder of the input called `name`."""
    return lambda wildcards, input: str(Path(input[name]).parent)


def raw_files(wildcards):
    """The study's raw data as far as it is there.

    A missing file is no missing input: the plan can be seen without data, and prepare_data.py
    says what to put where.
    """
    data, found = STUDY.settings.data, []
    for split in ("train", "dev", "test"):
        if getattr(data, split):
            with contextlib.suppress(UserError):
                found.append(shown(raw_file(STUDY.source, data, split)))
    return found


def checkpoint_files(wildcards):
    """Files of a local checkpoint; none for one on the Hub, or one that its script will refuse."""
    try:
        found = resolve_checkpoint(STUDY.model(wildcards.model).model)
    except UserError:
        return []
    return [shown(file) for file in found.weight_files()]


def devices_of_training(wildcards):
    """GPUs that one training of this model takes: `execution.devices`."""
    return STUDY.model(wildcards.model).execution.devices


def data_files(*names):
    """Files of results/{study}/data; the test split only where the study has one."""
    splits = {"train": "train.csv", "selection": "selection.csv", "dev": "dev.csv"}
    if STUDY.settings.data.test:
        splits["test"] = "test.csv"
    return [f"<results>/data/{splits[name]}" for name in names if name in splits]


def submission_files(study):
    """One CSV for each prediction set, where the study has a test split."""
    if not study.settings.data.test:
        return []
    return [f"<results>/submission/{run.name}.csv" for run in study.runs()]


def submitted_predictions(wildcards):
    run = next(run for run in STUDY.runs() if run.name == wildcards.name)
    return f"{STUDY.results}/{run.folder}/predictions/test.jsonl"


def in_every_run(study, *files):
    """Paths of these files in the folder of every prediction set."""
    return [f"<results>/{run.folder}/{file}" for run in study.runs() for file in files]


def in_every_training(study, *files):
    return [f"<results>/{run.folder}/{file}" for run in study.trainings() for file in files]


def example_files(study, *files):
    """Paths of these files in the examples of every model, format and augmentation."""
    folders = dict.fromkeys(run.examples for run in study.trainings())
    return [f"<results>/{folder}/{file}" for folder in folders for file in files]


def examples(*files):
    """These files of what a training learns from."""

    def paths(wildcards):
        return [f"{STUDY.results}/{run_of(wildcards).examples}/{file}" for file in files]

    return paths


def run_of(wildcards):
    return Run(
        wildcards.model,
        wildcards.format,
        wildcards.condition,
        int(wildcards.seed),
        wildcards.variant,
    )


def predictions(run):
    """Prediction files of a run: the scored split, and the unlabelled one where there is one."""
    splits = ["dev", "test"] if STUDY.settings.data.test else ["dev"]
    return [f"{run}/predictions/{split}.jsonl" for split in splits]


def table_names(study):
    """Files of tables/, without their endings."""
    several = ["seeds"] if len(study.seeds) > 1 else []
    quoted = ["quoted"] if study.settings.report.quoted else []
    return [*TABLES, *several, *quoted]


def table_files(study, ending):
    return [f"<results>/tables/{name}.{ending}" for name in table_names(study)]


def results_folder(wildcards):
    return str(STUDY.results)


def report_parts():
    """Templates, styles and scripts of the HTML report."""
    folder = PROJECT / "workflow" / "report"
    return sorted(
        shown(path) for path in folder.rglob("*") if path.is_file() and path.suffix != ".rst"
    )


def closing_words(study, logs):
    """The last word after a failure: the script's own error, and that nothing is lost.

    Folders that Snakemake made for outputs which never came are removed.
    """
    for folder in sorted(study.results.glob("**/"), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    texts = [Path(log).read_text(encoding="utf-8", errors="replace") for log in logs]
    errors = re.findall(r"^error: .+", "\n".join(texts), flags=re.MULTILINE)
    told = errors[-1:] or ["The log of the failed job, shown above, says why."]
    return "\n".join([*told, "Put that right; the same command then goes on from here."])


# --- Labels of `snakemake --report`


def training_labels(result):
    keys = ("model", "format", "condition", "seed")
    return {"result": result, **{key: f"{{{key}}}" for key in keys}}


def run_labels(result):
    def labels(wildcards):
        run = next(run for run in STUDY.runs() if run.folder == wildcards.run)
        return {"result": result, **{key: str(value) for key, value in run.record().items()}}

    return labels


def figure_labels(wildcards):
    """A loss curve is labelled by its training, any other figure by its name."""
    for run in STUDY.trainings():
        if wildcards.figure == run.loss_plot:
            return {"figure": "loss", **{key: str(value) for key, value in run.record().items()}}
    keys = dict.fromkeys(("model", "format", "condition", "seed"), "all")
    return {"figure": wildcards.figure.replace("_", " "), **keys}
