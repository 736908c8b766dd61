# Labels of `snakemake --report`, and what a message calls a training. Variants only where a study
# has several.

SEVERAL = len(STUDY.variants) > 1
LABELLED = ("model", *(["variant"] if SEVERAL else []), "format", "condition", "seed")
TRAINING_NAMED = " · ".join(
    ("seed " if key == "seed" else "") + f"{{wildcards.{key}}}" for key in LABELLED
)


def training_labels(result):
    return {"result": result, **{key: f"{{{key}}}" for key in LABELLED}}


def labels_of_run(run):
    record = run.record()
    return {key: str(record[key]) for key in LABELLED}


def run_labels(result):
    def labels(wildcards):
        run = next(run for run in STUDY.runs() if run.folder == wildcards.run)
        return {"result": result, **labels_of_run(run)}

    return labels


def labels_of_all(result):
    return {"result": result, **dict.fromkeys(LABELLED, "all")}


def figure_labels(wildcards):
    """A loss curve is labelled by its training, any other figure by its name."""
    for run in STUDY.trainings():
        if wildcards.figure == run.loss_plot:
            return {"figure": "loss", **labels_of_run(run)}
    return {"figure": wildcards.figure.replace("_", " "), **dict.fromkeys(LABELLED, "all")}
