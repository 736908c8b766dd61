# What the rules share: paths, names, and functions for their params.

import os
import re
import sys
from pathlib import Path

# In a module the main Snakefile is another project's, so locate ours by this file.
PROJECT = Path(str(workflow.current_basedir.get_path_or_uri(secret_free=True))).parent.parent
if not (PROJECT / "workflow" / "scripts").is_dir():
    sys.exit(f"error: {PROJECT}: brings no scripts; clone Yoyak and name the clone's Snakefile")
if re.search("[{}]", str(PROJECT)):
    sys.exit(f"error: {PROJECT}: Snakemake takes braces for wildcards; rename this folder")
# This checkout's library, even where another one's is installed; then off the path again, since our
# scripts must not hide modules of a workflow that takes this one as a module.
sys.path.insert(0, str(PROJECT / "workflow" / "scripts"))

from yoyak.config.frozen import freeze, same_training
from yoyak.config.study import Run
from yoyak.errors import UserError, silence_imports, use_utf8_output
from yoyak.models.weights_identity import weights_identity
from yoyak.reporting.texts import texts_digest
from yoyak.run.code_digest import step_digest
from yoyak.scoring.encoder import encoder_identity

sys.path.remove(str(PROJECT / "workflow" / "scripts"))

IN_MODULE = not workflow.modifier.is_main_snakefile()
# Folder of one training, below runs/, logs/train/, benchmarks/train/, …
TRAINING = "{model}/{variant}/{format}/{condition}/seed{seed}"
TRAINED = f"<results>/runs/{TRAINING}"
TABLES = "questions methods metrics rouge levels groups differences group_differences context diagnostics"
TABLES = [*TABLES.split(), "resources"]

use_utf8_output()
silence_imports()

# `python` in a shell command is the Python that runs Snakemake, even where no environment is
# active; under `--sdm conda` the job's own environment still goes before it.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
)
# A shell that is told to end waits for its program instead of leaving it behind: the trainer is told
# so, too (by SLURM before a time limit, say), saves, and its exit code 75 arrives here.
PREFIX = "set -euo pipefail; trap : TERM USR1; "
shell.prefix(PREFIX)


def shown(path):
    """A path as one would type it; absolute in a module, since a prefix changes relative paths."""
    path, here = Path(path), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) and not IN_MODULE else path)


def run_of(wildcards):
    return Run(
        wildcards.model,
        wildcards.format,
        wildcards.condition,
        int(wildcards.seed),
        wildcards.variant,
    )


def first_seeds_first(wildcards):
    """Priority: all jobs of one seed before the next seed's, since one seed is a complete study."""
    return len(STUDY.seeds) - STUDY.seeds.index(int(wildcards.seed))


def run_named(name):
    return next(run for run in STUDY.runs() if run.name == name)


# --- Parameters: a step reruns when one of these changes


def script(name):
    return shown(PROJECT / "workflow" / "scripts" / name)


def digest(step):
    """Digest of the code that a step runs, without comments."""
    try:
        return step_digest(step)
    except UserError as error:
        sys.exit(f"error: {error}")


def settings(step, few_shot=0):
    """All settings that a step depends on, as text for its script; of the prompts, what it uses."""

    def text(wildcards):
        of_model, prompt = [wildcards.get("model"), wildcards.get("variant")], None
        if "format" in wildcards.keys():
            prompt = wildcards.format, wildcards.get("augmentation", "none"), few_shot
        return freeze(STUDY, step, *of_model, prompt)

    return text


def texts(language=None):
    """Digest of the texts that a step writes, in the report's language unless it names another."""
    return texts_digest(language or STUDY.settings.report.language)


def weights(wildcards):
    """Identity of a model's weights: their SHA-256, or the pinned revision of a Hub checkpoint."""
    return weights_identity(STUDY.model(wildcards.model).model)


def tokenizer(wildcards):
    return weights_identity(STUDY.model(wildcards.model).model, tokenizer_only=True)


def encoder(wildcards):
    """What the encoder of BERTScore is; None where the study does not ask for it."""
    return encoder_identity(STUDY.settings.metric)


def folder_of(name):
    """Folder of the output called `name`: what a script takes as --output-dir."""
    return lambda wildcards, output: str(Path(output[name]).parent)


def folder_of_input(name):
    """Folder of the first input called `name`."""

    def folder(wildcards, input):
        files = input[name]
        return str(Path(files if isinstance(files, str) else files[0]).parent)

    return folder


def devices_of_training(wildcards):
    """GPUs that one training of this model takes: `execution.devices`."""
    return STUDY.model(wildcards.model).execution.devices


def augmentation(wildcards):
    return run_of(wildcards).augmentation
