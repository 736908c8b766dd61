# GPUs, memory and time of each job. On one machine only `gpu` counts, and only under
# `--resources gpu=N`; a cluster's profile (profiles/slurm) hands the others on to its scheduler.
# A function here is asked once for each job and attempt: it must be cheap, and must not fail.

import functools

from yoyak.run.devices import count_gpus
from yoyak.run.needs import (
    Needs,
    count_examples,
    loading_mb,
    measured,
    read_shape,
    training_needs,
)

TEMPLATES = 5  # examples that a dialogue becomes under `templates`
GENERATION_SECONDS = 2700  # where none was measured


def gpus(wildcards):
    """GPUs of one generation; none on a cluster for a model that runs on the CPU."""
    on_cpu = STUDY.model(wildcards.model).execution.device == "cpu"
    return 0 if on_cpu and not workflow.local_exec else 1


def gpus_of_training(wildcards):
    return gpus(wildcards) * devices_of_training(wildcards)


def threads_of_training(wildcards):
    return 4 * devices_of_training(wildcards)


@functools.lru_cache(maxsize=None)
def model_shape(model):
    """Shape of a model whose config.json is at hand; None where it must be downloaded first."""
    try:
        found = resolve_checkpoint(STUDY.model(model).model)
    except UserError:
        return None  # its job says in full what is wrong with it
    if found.local:
        return read_shape(Path(found.name) / "config.json")
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(found.name, "config.json", **found.kwargs)
    return read_shape(Path(cached)) if isinstance(cached, str) else None


def training(wildcards):
    """Needs of a training: as measured before in this study, else as planned."""
    like = f"{wildcards.model}/*/*/{wildcards.condition}/seed*.tsv"
    known = measured(STUDY.results / "benchmarks" / "train", like)
    if known:
        return known
    run = run_of(wildcards)
    times = TEMPLATES if run.augmentation == "templates" else 1
    counts = count_examples(
        STUDY.results / run.examples / "statistics.json",
        [STUDY.results / "data" / "train.csv", *map(Path, raw_files(wildcards)[:1])],
        times,
    )
    config = STUDY.model(wildcards.model)
    return training_needs(
        config,
        model_shape(wildcards.model),
        *(counts or (None, None)),
        devices_of_training(wildcards),
    )


def generation(wildcards):
    """Needs of a generation: as measured before for the same model, else a usual time."""
    known = measured(STUDY.results / "benchmarks" / "generate", f"**/{wildcards.model}/**/*.tsv")
    return known or Needs(loading_mb(model_shape(wildcards.model)), GENERATION_SECONDS)


def tokenising(wildcards):
    known = measured(STUDY.results / "benchmarks" / "build_dataset", f"{wildcards.model}/*/*.tsv")
    return known or Needs(memory_mb=6000, seconds=1200)


def minutes(needs):
    """A rule's `runtime`, with head-room that grows with each attempt."""
    return lambda wildcards, attempt: needs(wildcards).minutes(attempt)


def megabytes(needs):
    """A rule's `mem_mb`, with head-room that grows with each attempt."""
    return lambda wildcards, attempt: needs(wildcards).megabytes(attempt)


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
        return  # the job that needs the GPU says it in full
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
            f"note: --resources gpu={limit} and this machine shows no GPU: up to {limit} "
            "trainings run at once on its CPU",
            file=sys.stderr,
        )
