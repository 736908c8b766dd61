# Yoyak: how much does QLoRA fine-tuning help a language model summarise dialogues?
#
#   snakemake --cores all --resources gpu=1                          the embedded study
#   snakemake --cores all --resources gpu=1 --config study=NAME      config/studies/NAME.yaml
#
# Everything that a study makes lies under results/{study}/.

from snakemake.utils import min_version

min_version("9.19")


include: "workflow/rules/common.smk"
include: "workflow/rules/terminal.smk"


configfile: str(PROJECT / "config" / "config.yaml")


STUDY, SETTINGS_HASH = open_study(config)
note_known_targets(STUDY)


envvars:
    SETTINGS_HASH,


report: "workflow/report/workflow.rst"


pathvars:
    results=f"results/{STUDY.name}",
    logs=f"logs/{STUDY.name}",


wildcard_constraints:
    model=one_of(STUDY.models),
    format=one_of(STUDY.formats),
    augmentation=one_of(STUDY.augmentations),
    condition=one_of(STUDY.trained_conditions),
    variant="default",
    seed=one_of(STUDY.seeds),


include: "workflow/rules/inputs.smk"
include: "workflow/rules/labels.smk"


rule all:
    default_target: True
    input:
        "<results>/report.html",
        submission_files(),
        in_every_training("README.md"),
    localrule: True


include: "workflow/rules/resources.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


onstart:
    check_gpu_limit()


onsuccess:
    discard_checkpoints()
    report_done()


onerror:
    report_missing()
