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
from yoyak.run.code_digest import step_digest
from yoyak.config.study import load_study
from yoyak.config.study_settings import RunSettings
from yoyak.errors import UserError, speak_utf8

speak_utf8()

TABLES = ("rouge groups differences group_differences context diagnostics resources quoted").split()

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
        "format": study.formats,
        "augmentation": study.augmentations,
        "seed": [f"seed{seed}" for seed in study.seeds],
    }
    if parts[2] in ("runs", "zero_shot", "examples"):
        levels = {"runs": 4, "examples": 3, "zero_shot": 2}[parts[2]]
        for (level, known), part in zip(list(allowed.items())[:levels], parts[3:]):
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


def scored_runs(study):
    """Folder of every prediction set below results/{study}/, by the name that its files carry."""
    runs = {}
    for model in study.models:
        for prompt_format in study.formats:
            runs[f"{model}-{prompt_format}-zero_shot"] = f"zero_shot/{model}/{prompt_format}"
    for cell in study.cells():
        name = f"{cell.model}-{cell.format}-{cell.augmentation}-seed{cell.seed}"
        runs[name] = cell.run
    return runs


def submission_files(study):
    """One CSV for each prediction set, where the study has a test split."""
    if not study.settings.data.test:
        return []
    return [f"<results>/submission/{name}.csv" for name in scored_runs(study)]


def submitted_predictions(wildcards):
    return f"{STUDY.results}/{scored_runs(STUDY)[wildcards.name]}/predictions/test.jsonl"


def in_every_run(study, *files):
    """Paths of these files in the folder of every prediction set."""
    return [f"<results>/{run}/{file}" for run in scored_runs(study).values() for file in files]


def in_every_training(study, *files):
    return [f"<results>/{cell.run}/{file}" for cell in study.cells() for file in files]


def example_files(study, *files):
    """Paths of these files in the examples of every model, format and augmentation."""
    return [
        f"<results>/examples/{model}/{prompt_format}/{augmentation}/{file}"
        for model in study.models
        for prompt_format in study.formats
        for augmentation in study.augmentations
        for file in files
    ]


def predictions(run):
    """Prediction files of a run: the scored split, and the unlabelled one where there is one."""
    splits = ["dev", "test"] if STUDY.settings.data.test else ["dev"]
    return [f"{run}/predictions/{split}.jsonl" for split in splits]


def table_names(study):
    """Files of tables/, without their endings."""
    several = ["seeds"] if len(study.seeds) > 1 else []
    return [*TABLES, *several]


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


def cell_labels(result):
    return {
        "result": result,
        "model": "{model}",
        "format": "{format}",
        "condition": "{augmentation}",
        "seed": "{seed}",
    }


def run_labels(result):
    def labels(wildcards):
        kind, model, prompt_format, *training = wildcards.run.split("/")
        condition, seed = training or ("zero_shot", "seed")
        return {
            "result": result,
            "model": model,
            "format": prompt_format,
            "condition": condition,
            "seed": seed.removeprefix("seed"),
        }

    return labels


def figure_labels(wildcards):
    """A loss curve is labelled by its cell, any other figure by its name."""
    name, *cell = wildcards.figure.split("-")
    model, prompt_format, condition = cell if len(cell) == 3 else ("all", "all", "all")
    return {
        "figure": name.replace("_", " "),
        "model": model,
        "format": prompt_format,
        "condition": condition,
    }
