# Scores to tables, tables to plots, and everything to one HTML page.


rule compare:
    input:
        data=data_files("dev"),
        floors=["<results>/floors/dialogues.csv", "<results>/floors/run.json"],
        scores=in_every_run(
            "scores/dialogues.csv",
            "scores/summary.json",
            "predictions/dev.jsonl",
        ),
        records=in_every_run("predictions/run.json") + in_every_training("run.json"),
    output:
        tables=[
            report(
                f"<results>/tables/{table}.csv",
                caption="../report/tables.rst",
                category="Tables",
                labels={"table": table.replace("_", " ")},
            )
            for table in table_names()
        ],
        markdown=table_files("md"),
        record="<results>/tables/run.json",
    log:
        "<logs>/compare.log",
    benchmark:
        "<results>/benchmarks/compare.tsv"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    params:
        script=script("compare.py"),
        code=digest("compare"),
        texts=texts("en"),
        settings=settings("compare"),
        results=lambda wildcards, output: str(Path(output.record).parent.parent),
        folder=folder_of("record"),
    message:
        "Comparing all scores: tables"
    shell:
        "python {params.script:q} --settings {params.settings:q} --results {params.results:q}"
        " --output-dir {params.folder:q} > {log:q} 2>&1"


rule plot:
    input:
        tables=table_files("csv"),
        logs=in_every_training("training_log.csv"),
        examples=in_all_examples("statistics.json", "train.safetensors"),
    output:
        report(
            directory("<results>/plots"),
            patterns=["{figure}.svg"],
            caption="../report/plots.rst",
            category="Plots",
            labels=figure_labels,
        ),
    log:
        "<logs>/plot.log",
    benchmark:
        "<results>/benchmarks/plot.tsv"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    params:
        script=script("plot.py"),
        code=digest("plot"),
        texts=texts(),
        settings=settings("plot"),
        results=lambda wildcards, output: str(Path(output[0]).parent),
    message:
        "Drawing the plots"
    shell:
        "python {params.script:q} --settings {params.settings:q} --results {params.results:q}"
        " --output-dir {output:q} > {log:q} 2>&1"


rule report:
    input:
        template=report_parts(),
        data=data_files("train", "selection", "dev")
        + ["<results>/data/data_card.json", "<results>/data/run.json"],
        tables=table_files("csv"),
        comparison="<results>/tables/run.json",
        plots="<results>/plots",
        statistics=in_all_examples("statistics.json"),
        trainings=in_every_training("training_log.csv", "run.json"),
        predictions=in_every_run(
            "predictions/dev.jsonl",
            "predictions/run.json",
            "scores/run.json",
            "scores/dialogues.csv",
            "scores/summary.json",
        ),
    output:
        page=report(
            "<results>/report.html",
            caption="../report/report.rst",
            category="Report",
            labels={"result": "the whole study on one page"},
        ),
        answer="<results>/answer.rst",
    log:
        "<logs>/report.log",
    benchmark:
        "<results>/benchmarks/report.tsv"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    params:
        script=script("report.py"),
        code=digest("report"),
        texts=texts(),
        settings=settings("report"),
        results=lambda wildcards, output: str(Path(output[0]).parent),
    message:
        "Writing the report"
    shell:
        "python {params.script:q} --settings {params.settings:q} --results {params.results:q}"
        " --output {output.page:q} > {log:q} 2>&1"


rule model_card:
    input:
        tables=[
            f"<results>/tables/{name}.csv"
            for name in table_names()
            if name in ("rouge", "context", "levels", "seeds")
        ],
        zero_shot="<results>/zero_shot/{model}/{format}/scores/summary.json",
        scores=f"{TRAINED}/scores/summary.json",
        generation=f"{TRAINED}/predictions/run.json",
        training=f"{TRAINED}/run.json",
        statistics=examples("statistics.json"),
    output:
        report(
            f"{TRAINED}/README.md",
            caption="../report/model_card.rst",
            category="Trainings",
            labels=training_labels("model card"),
        ),
    log:
        f"<logs>/model_card/{TRAINING}.log",
    benchmark:
        f"<results>/benchmarks/model_card/{TRAINING}.tsv"
    localrule: True
    conda:
        "../../envs/reporting.yaml"
    params:
        script=script("model_card.py"),
        code=digest("model_card"),
        texts=texts(),
        settings=settings("model_card"),
        results=lambda wildcards, input: str(Path(input.tables[0]).parent.parent),
        augmentation=augmentation,
    message:
        f"Model card of {TRAINING_NAMED}"
    shell:
        "python {params.script:q} --settings {params.settings:q} --experiment {wildcards.model:q}"
        " --variant {wildcards.variant:q} --format {wildcards.format}"
        " --augmentation {params.augmentation} --seed {wildcards.seed} --results {params.results:q} --output {output:q}"
        " > {log:q} 2>&1"
