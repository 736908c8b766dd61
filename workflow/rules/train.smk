# One training for each model, variant, format, augmentation and seed. The loop is in
# yoyak/training/packed_trainer.py, the loss in loss.py. Those that differ in decoding alone share one.


ruleorder: take_training > train


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
        f"Training {TRAINING_NAMED}"
    shell:
        "python {params.script:q} --settings {params.settings:q} --experiment {wildcards.model:q}"
        " --variant {wildcards.variant:q} --format {wildcards.format}"
        " --augmentation {params.augmentation} --seed {wildcards.seed} --examples {params.examples:q}"
        " --output-dir {params.folder:q} > {log:q} 2>&1"


rule take_training:
    input:
        adapter=of_same_training("final_model"),
        log=of_same_training("training_log.csv"),
        record=of_same_training("run.json"),
    output:
        adapter=directory("<results>/{taken}/final_model"),
        log="<results>/{taken}/training_log.csv",
        record="<results>/{taken}/run.json",
    log:
        "<logs>/take_training/{taken}.log",
    wildcard_constraints:
        taken=one_of(TAKEN),
    priority: len(STUDY.seeds)
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    params:
        script=script("take_training.py"),
        code=digest("take_training"),
        run=lambda wildcards: TAKEN[wildcards.taken][0],
        training=folder_of_input("record"),
        folder=folder_of("record"),
    message:
        "Taking the training of {params.training}"
    shell:
        "python {params.script:q} --experiment {params.run.model:q} --variant {params.run.variant:q}"
        " --training {params.training:q} --output-dir {params.folder:q} > {log:q} 2>&1"
