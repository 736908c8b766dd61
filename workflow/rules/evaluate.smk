# Predictions of every model before and after training, floors, and scores.


rule generate_zero_shot:
    input:
        weights=ancient(checkpoint_files),
        dev="<results>/data/dev.csv",
        test=data_files("test"),
    output:
        predictions=predictions("<results>/zero_shot/{model}/{format}"),
        record="<results>/zero_shot/{model}/{format}/predictions/run.json",
    log:
        "<logs>/generate/zero_shot/{model}/{format}.log",
    benchmark:
        "<results>/benchmarks/generate/zero_shot/{model}/{format}.tsv"
    priority: len(STUDY.seeds)
    conda:
        "../../envs/training.yaml"
    threads: threads_of_generation
    resources:
        gpu=gpus,
        mem_mb=megabytes(generation),
        runtime=minutes(generation),
    params:
        script=script("generate.py"),
        code=digest("generate"),
        settings=settings("generate"),
        weights=weights,
        data=folder_of_input("dev"),
        folder=folder_of("record"),
        few_shot=0,
    message:
        "Summarising with {wildcards.model} · {wildcards.format} · zero-shot"
    shell:
        "python {params.script:q} --settings {params.settings:q} --experiment {wildcards.model:q}"
        " --format {wildcards.format} --few-shot {params.few_shot} --data {params.data:q}"
        " --output-dir {params.folder:q} > {log:q} 2>&1"


# The same command; only what differs stands here.
use rule generate_zero_shot as generate_few_shot with:
    input:
        weights=ancient(checkpoint_files),
        train="<results>/data/train.csv",
        dev="<results>/data/dev.csv",
        test=data_files("test"),
    output:
        predictions=predictions("<results>/few_shot/{model}/{format}"),
        record="<results>/few_shot/{model}/{format}/predictions/run.json",
    log:
        "<logs>/generate/few_shot/{model}/{format}.log",
    benchmark:
        "<results>/benchmarks/generate/few_shot/{model}/{format}.tsv"
    params:
        settings=settings("generate", few_shot=STUDY.settings.few_shot),
        few_shot=STUDY.settings.few_shot,
    message:
        "Summarising with {wildcards.model} · {wildcards.format} · few-shot"


rule generate:
    input:
        weights=ancient(checkpoint_files),
        dev="<results>/data/dev.csv",
        test=data_files("test"),
        adapter=f"{TRAINED}/final_model",
        training=f"{TRAINED}/run.json",
    output:
        predictions=predictions(TRAINED),
        record=f"{TRAINED}/predictions/run.json",
    log:
        f"<logs>/generate/runs/{TRAINING}.log",
    benchmark:
        f"<results>/benchmarks/generate/runs/{TRAINING}.tsv"
    priority: first_seeds_first
    conda:
        "../../envs/training.yaml"
    threads: threads_of_generation
    resources:
        gpu=gpus,
        mem_mb=megabytes(generation),
        runtime=minutes(generation),
    params:
        script=script("generate.py"),
        code=digest("generate"),
        settings=settings("generate"),
        weights=weights,
        data=folder_of_input("dev"),
        folder=folder_of("record"),
    message:
        f"Summarising with {TRAINING_NAMED}"
    shell:
        "python {params.script:q} --settings {params.settings:q} --adapter {input.adapter:q}"
        " --data {params.data:q} --output-dir {params.folder:q} > {log:q} 2>&1"


rule floors:
    input:
        data=data_files("train", "dev"),
    output:
        texts="<results>/floors/texts.jsonl",
        dialogues=report(
            "<results>/floors/dialogues.csv",
            caption="../report/floors.rst",
            category="Scores",
            labels=labels_of_all("floors of each dialogue"),
        ),
        record="<results>/floors/run.json",
    log:
        "<logs>/floors.log",
    benchmark:
        "<results>/benchmarks/floors.tsv"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    params:
        script=script("floors.py"),
        code=digest("floors"),
        settings=settings("floors"),
        encoder=encoder,
        data=folder_of_input("data"),
        folder=folder_of("record"),
    message:
        "Scoring the floors"
    shell:
        "python {params.script:q} --settings {params.settings:q} --data {params.data:q}"
        " --output-dir {params.folder:q} > {log:q} 2>&1"


rule score:
    input:
        train="<results>/data/train.csv",
        dev="<results>/data/dev.csv",
        predictions="<results>/{run}/predictions/dev.jsonl",
        record="<results>/{run}/predictions/run.json",
    output:
        dialogues=report(
            "<results>/{run}/scores/dialogues.csv",
            caption="../report/scores.rst",
            category="Scores",
            labels=run_labels("score of each dialogue"),
        ),
        diagnostics="<results>/{run}/scores/diagnostics.csv",
        summary="<results>/{run}/scores/summary.json",
        record="<results>/{run}/scores/run.json",
    log:
        "<logs>/score/{run}.log",
    benchmark:
        "<results>/benchmarks/score/{run}.tsv"
    wildcard_constraints:
        run=one_of(run.folder for run in STUDY.runs()),
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    params:
        script=script("score.py"),
        code=digest("score"),
        settings=settings("score"),
        encoder=encoder,
        data=folder_of_input("dev"),
        predictions=folder_of_input("predictions"),
        folder=folder_of("record"),
    message:
        "Scoring {wildcards.run}"
    shell:
        "python {params.script:q} --settings {params.settings:q} --predictions {params.predictions:q}"
        " --data {params.data:q} --output-dir {params.folder:q} > {log:q} 2>&1"


rule submission:
    input:
        test="<results>/data/test.csv",
        card="<results>/data/data_card.json",
        predictions=submitted_predictions,
    output:
        "<results>/submission/{name}.csv",
    log:
        "<logs>/submission/{name}.log",
    benchmark:
        "<results>/benchmarks/submission/{name}.tsv"
    wildcard_constraints:
        name=one_of(run.name for run in STUDY.runs()),
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    params:
        script=script("submission.py"),
        code=digest("submission"),
        data=folder_of_input("test"),
        predictions=folder_of_input("predictions"),
    message:
        "Writing the submission {wildcards.name}"
    shell:
        "python {params.script:q} --predictions {params.predictions:q}"
        " --data {params.data:q} --output {output:q} > {log:q} 2>&1"
