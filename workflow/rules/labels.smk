# Labels of `snakemake --report`.


def training_labels(result):
    keys = ("model", "format", "condition", "seed")
    return {"result": result, **{key: f"{{{key}}}" for key in keys}}


def run_labels(result):
    def labels(wildcards):
        run = next(run for run in STUDY.runs() if run.folder == wildcards.run)
        return {"result": result, **{key: str(value) for key, value in run.record().items()}}

    return labels


def labels_of_all(result):
    return {"result": result, **dict.fromkeys(("model", "format", "condition", "seed"), "all")}


def figure_labels(wildcards):
    """A loss curve is labelled by its training, any other figure by its name."""
    for run in STUDY.trainings():
        if wildcards.figure == run.loss_plot:
            return {"figure": "loss", **{key: str(value) for key, value in run.record().items()}}
    keys = dict.fromkeys(("model", "format", "condition", "seed"), "all")
    return {"figure": wildcards.figure.replace("_", " "), **keys}
