# Raw dialogues to cleaned splits, and these to tokenised examples (prompts are built and truncated
# here, see yoyak/data/encoding.py).


rule prepare_data:
    input:
        raw=raw_files,
    output:
        splits=data_files("train", "selection", "dev", "test"),
        card="<results>/data/data_card.json",
        record="<results>/data/run.json",
    log:
        "<logs>/prepare_data.log",
    benchmark:
        "<results>/benchmarks/prepare_data.tsv"
    priority: len(STUDY.seeds)
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    params:
        script=script("prepare_data.py"),
        code=digest("prepare_data"),
        settings=settings("prepare_data"),
        folder=folder_of("record"),
    message:
        "Cleaning, checking and splitting the raw dialogues"
    shell:
        "python {params.script:q} --settings {params.settings:q} --output-dir {params.folder:q} > {log:q} 2>&1"


rule build_dataset:
    input:
        weights=ancient(checkpoint_files),
        data=data_files("train", "selection"),
        card="<results>/data/data_card.json",
    output:
        train="<results>/examples/{model}/{format}/{augmentation}/train.safetensors",
        selection="<results>/examples/{model}/{format}/{augmentation}/selection.safetensors",
        statistics="<results>/examples/{model}/{format}/{augmentation}/statistics.json",
        record="<results>/examples/{model}/{format}/{augmentation}/run.json",
    log:
        "<logs>/build_dataset/{model}/{format}/{augmentation}.log",
    benchmark:
        "<results>/benchmarks/build_dataset/{model}/{format}/{augmentation}.tsv"
    priority: len(STUDY.seeds)
    conda:
        "../../envs/training.yaml"
    resources:
        mem_mb=megabytes(tokenising),
        runtime=minutes(tokenising),
    params:
        script=script("build_dataset.py"),
        code=digest("build_dataset"),
        settings=settings("build_dataset"),
        tokenizer=tokenizer,
        data=folder_of_input("data"),
        folder=folder_of("record"),
    message:
        "Tokenising {wildcards.model} · {wildcards.format} · {wildcards.augmentation}"
    shell:
        "python {params.script:q} --settings {params.settings:q} --experiment {wildcards.model:q}"
        " --format {wildcards.format} --augmentation {wildcards.augmentation}"
        " --data {params.data:q} --output-dir {params.folder:q} > {log:q} 2>&1"
