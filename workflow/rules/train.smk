# One training for each model, format, augmentation and seed. The loop is in
# yoyak/training/packed_trainer.py, the loss in loss.py.


rule train:
    input:
        weights=ancient(checkpoint_files),
        examples=examples(
            "train.safetensors", "selection.safetensors", "statistics.json", "run.json"
        ),
    output:
        adapter=directory(f"{TRAINED}/final_model"),
        log=report(
            f"{TRAINED}/training_log.csv",
            caption="../report/training_log.rst",
            category="Trainings",
            labels=training_labels("training log"),
        ),
        record=f"{TRAINED}/run.json",
    log:
        f"<logs>/train/{TRAINING}.log",
    benchmark:
        f"<results>/benchmarks/train/{TRAINING}.tsv"
    priority: first_seeds_first
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
        weights=weights,
        examples=folder_of_input("examples"),
        augmentation=augmentation,
        folder=folder_of("record"),
    message:
        "Training {wildcards.model} · {wildcards.format} · {wildcards.condition} · seed {wildcards.seed}"
    shell:
        "python {params.script:q} --settings {params.settings:q} --experiment {wildcards.model:q}"
        " --format {wildcards.format} --augmentation {params.augmentation}"
        " --seed {wildcards.seed} --examples {params.examples:q}"
        " --output-dir {params.folder:q} > {log:q} 2>&1"
