# Yoyak: how much does QLoRA fine-tuning help a language model summarise dialogues?
#
#   snakemake --cores all --resources gpu=1                          the embedded study
#   snakemake --cores all --resources gpu=1 --config study=NAME      config/studies/NAME.yaml
#
# Everything that a study makes lies under results/{study}/.

from snakemake.utils import min_version

min_version("9.19")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"  # places, names, parameters of rules
include: "workflow/rules/terminal.smk"  # what Snakemake says
include: "workflow/rules/study.smk"  # which study; its paths and wildcards
include: "workflow/rules/inputs.smk"  # files of several rules
include: "workflow/rules/labels.smk"  # for snakemake --report
include: "workflow/rules/resources.smk"  # GPUs, memory and time


rule all:
    default_target: True
    input:
        "<results>/report.html",
        submission_files(),
        in_every_training("README.md"),
    localrule: True


include: "workflow/rules/data.smk"  # prepare_data, build_dataset
include: "workflow/rules/train.smk"  # train
include: "workflow/rules/evaluate.smk"  # generate, floors, score, submission
include: "workflow/rules/report.smk"  # compare, plot, report, model_card


onstart:
    check_gpu_limit()
    check_trackers()


onsuccess:
    discard_checkpoints()
    report_done()


onerror:
    report_missing()
