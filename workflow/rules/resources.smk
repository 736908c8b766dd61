# GPUs, memory and time of each job. On one machine only `gpu` counts, and only under
# `--resources gpu=N`; a cluster's profile (profiles/slurm) hands the others on to its scheduler.
# A function here is called for each job and attempt: it must be cheap and must not fail.

import functools

import psutil
from yoyak.data.counts import count_tokens
from yoyak.models.shapes import local_shape
from yoyak.run.devices import count_gpus
from yoyak.run.estimate import (
    BASE_MB,
    Request,
    cpu_megabytes,
    host_megabytes,
    measured_request,
    training_request,
)
from yoyak.run.workspace import discard
from yoyak.training.tracking import check_keys

# Seconds where none were measured.
GENERATION = 2700
TOKENISING = 1200


@functools.lru_cache(maxsize=None)
def gpus_here():
    """GPUs of this machine; 1 where the driver fails: the job that needs it reports that."""
    try:
        return count_gpus()
    except UserError:
        return 1


def runs_on_cpu(wildcards):
    wanted = STUDY.model(wildcards.model).execution.device
    return wanted == "cpu" or (workflow.local_exec and not gpus_here())


def gpus(wildcards):
    """GPUs of one generation."""
    return 0 if runs_on_cpu(wildcards) else 1


def gpus_of_training(wildcards):
    return gpus(wildcards) * devices_of_training(wildcards)


def threads_of_gpus(devices):
    """Threads of a job on this many GPUs: its share of the cores; on a cluster 4 per GPU."""
    if not workflow.local_exec:
        return 4 * devices
    limit = getattr(workflow.global_resources.get("gpu"), "value", None) or 1
    cores = workflow.resource_settings.cores or 1  # a dry run may name none
    return max(1, cores * devices // limit)


def threads_on_cpu(wildcards, devices):
    """Threads of a job without a GPU: as many jobs run side by side as memory and cores allow.

    Two trainings of a tiny model on one thread each take far less time than one after the other on
    two threads.
    """
    cores = (workflow.local_exec and workflow.resource_settings.cores) or 1
    shape = local_shape(STUDY.model(wildcards.model).model)
    room = psutil.virtual_memory().total // (cpu_megabytes(shape) * 10**6)
    beside = max(1, min(cores, len(STUDY.trainings()), room))
    return devices * max(1, cores // beside)


def threads_of(wildcards, devices):
    if runs_on_cpu(wildcards):
        return threads_on_cpu(wildcards, devices)
    return threads_of_gpus(devices)


def threads_of_training(wildcards):
    return threads_of(wildcards, devices_of_training(wildcards))


def threads_of_generation(wildcards):
    return threads_of(wildcards, 1)


def measured(rule, like):
    return measured_request(STUDY.results / "benchmarks" / rule, like)


def training(wildcards):
    """As measured for similar trainings of this study, else as estimated."""
    like = f"{wildcards.model}/{wildcards.variant}/*/{wildcards.condition}/seed*.tsv"
    known = measured("train", like)
    return known or estimated(run_of(wildcards))


@functools.lru_cache(maxsize=None)
def estimated(run):
    config = STUDY.model(run.model, run.variant)
    try:
        counts = count_tokens(STUDY, run, config)
    except (UserError, KeyError, OSError, TypeError, ValueError):
        counts = None  # its job reports in full what is wrong with the data
    return training_request(config, local_shape(config.model), counts)


def generation(wildcards):
    shape = local_shape(STUDY.model(wildcards.model).model)
    known = measured("generate", f"**/{wildcards.model}/**/*.tsv")
    return known or Request(host_megabytes(shape), GENERATION)


def tokenising(wildcards):
    known = measured("build_dataset", f"{wildcards.model}/*/*.tsv")
    return known or Request(BASE_MB, TOKENISING)


def minutes(request):
    """A rule's `runtime`, which grows with each attempt."""
    return lambda wildcards, attempt: request(wildcards).minutes(attempt)


def megabytes(request):
    """A rule's `mem_mb`, which grows with each attempt."""
    return lambda wildcards, attempt: request(wildcards).megabytes(attempt)


def check_gpu_limit():
    """Before any job on this machine: say whether `--resources gpu=N` fits the GPUs that are here.

    Ends the run where N is more than there are: the surplus job would find no free GPU and fail.
    """
    if not (workflow.is_main_process and workflow.local_exec):
        return
    wanting = {config.execution.device for config in STUDY.models.values()} - {"cpu"}
    try:
        here = count_gpus() if wanting else 0
    except UserError:
        return  # the job that needs the GPU reports it
    limit = workflow.global_resources.get("gpu")
    limit = getattr(limit, "value", limit)
    if limit is None and here and workflow.cores > 1:
        print(
            f"note: --resources gpu=N is not given: more jobs than this machine's {here} GPU(s) "
            f"may start at once, and those without a free GPU fail; add --resources gpu={here}",
            file=sys.stderr,
        )
    elif limit is not None and 0 < here < limit:
        sys.exit(
            f"error: --resources gpu={limit} asks for more GPUs than this machine shows ({here}, "
            f"see nvidia-smi and CUDA_VISIBLE_DEVICES): add --resources gpu={here} instead"
        )
    elif limit is not None and limit > 1 and not here and wanting:
        print(
            f"note: --resources gpu={limit} and this machine shows no GPU: trainings run on its "
            "CPU, as many at once as --cores and its memory allow",
            file=sys.stderr,
        )


def check_trackers():
    """Before any job on this machine: end the run if a tracker of its trainings lacks something.

    Under --sdm conda the trainings have packages of their own and say it themselves.
    """
    if not workflow.is_main_process or workflow.deployment_settings.deployment_method:
        return
    jobs = workflow.dag.needrun_jobs() if workflow.local_exec else []
    for model in {job.wildcards.model: None for job in jobs if job.rule.name == "train"}:
        try:
            check_keys(STUDY.model(model).tracking.report_to)
        except UserError as error:
            sys.exit(f"error: {error}")


def discard_checkpoints():
    """After a successful run: remove the checkpoints of trainings whose outputs are complete.

    Until then they are kept: a Snakemake killed as a job ends deletes the outputs and reruns.
    """
    for run in STUDY.trainings() if workflow.is_main_process else ():
        if (STUDY.results / run.folder / "run.json").is_file():
            discard(STUDY.results / run.folder)
