# One training for each model, format, augmentation and seed.


rule train:
    input:
        weights=checkpoint_files,
        train="<results>/examples/{model}/{format}/{augmentation}/train.safetensors",
        selection="<results>/examples/{model}/{format}/{augmentation}/selection.safetensors",
    output:
        adapter=directory("<results>/runs/{model}/{format}/{augmentation}/seed{seed}/final_model"),
        log=report(
            "<results>/runs/{model}/{format}/{augmentation}/seed{seed}/training_log.csv",
            caption="../report/training_log.rst",
            category="Trainings",
            labels=cell_labels("training log"),
        ),
        record="<results>/runs/{model}/{format}/{augmentation}/seed{seed}/run.json",
    log:
        "<logs>/train/{model}-{format}-{augmentation}-seed{seed}.log",
    benchmark:
        "<results>/benchmarks/train/{model}-{format}-{augmentation}-seed{seed}.tsv"
    conda:
        "../../envs/training.yaml"
    threads: threads_of_training
    resources:
        gpu=gpus_of_training,
        mem_mb=megabytes(training),
        runtime=minutes(training),
    params:
        script=script("train_llm.py"),
        code=digest("train"),
        settings=settings("train"),
        study=study_flags(),
        examples=folder_of_input("train"),
        folder=folder_of("record"),
    message:
        "Training {wildcards.model} · {wildcards.format} · {wildcards.augmentation} · seed {wildcards.seed}"
    shell:
        "python {params.script:q} {params.study} --experiment {wildcards.model:q}"
        " --format {wildcards.format} --augmentation {wildcards.augmentation}"
        " --seed {wildcards.seed} --examples {params.examples:q}"
        " --output-dir {params.folder:q} > {log:q} 2>&1"
