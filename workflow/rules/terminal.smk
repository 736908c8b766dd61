# Snakemake's terminal output during a study.

from snakemake.logging import logger

from yoyak.run.missing import advice
from yoyak.run.terminal import Terminal


def quiet_terminal():
    """Our handler in place of Snakemake's; None where Snakemake's full output is wanted.

    That is: in a module, in a cluster's job, with -n, --verbose or a logger plugin.
    """
    settings, ours = workflow.output_settings, None
    if IN_MODULE or not workflow.is_main_process:
        return None
    if settings.dryrun or settings.verbose or settings.debug_dag:
        return None
    for handler in list(logger.handlers):
        if handler.get_name() == "DefaultStreamHandler":
            ours = Terminal(handler)
            logger.removeHandler(handler)
            logger.addHandler(ours)
        elif handler.get_name() == "DefaultLogFileHandler":
            for part in handler.filters:
                part.printshellcmds = True  # the file holds the whole of it
    return ours


TERMINAL = quiet_terminal()


def report_jobs():
    """The job that writes the report, if the run makes it; none if only a part was requested."""
    dag = workflow.dag
    part = dag.untilrules or dag.untilfiles or dag.omitrules or dag.omitfiles or dag.batch
    return [] if part else [job for job in dag.jobs if job.rule.name == "report"]


def report_done(otherwise="Done with what was requested; the report was not part of it."):
    """At the end of a run without failures: name the report if it is up to date."""
    jobs, file = report_jobs(), STUDY.results / "report.html"
    if jobs and all(map(workflow.dag.noneedrun_finished, jobs)) and file.is_file():
        print(f"Done: {file} opens in any browser, without a network.", flush=True)
    elif otherwise:
        print(otherwise, flush=True)


def nothing_to_do():
    """Snakemake calls no onsuccess then; one killed after its last job left this to the next."""
    discard_checkpoints()
    report_done(otherwise=None)


if TERMINAL is not None:
    # Scripts write to their logs; the shell itself would only add "Killed" and the command.
    shell.prefix(f"{PREFIX}exec 2>/dev/null; ")
    TERMINAL.idle = nothing_to_do


def note_known_targets(study):
    """Remember the study's models, formats and so on, for a target that no rule makes."""
    if TERMINAL is not None:
        TERMINAL.known = (
            f"study '{study.name}' has models {', '.join(study.models)}; "
            f"variants {', '.join(study.variants)}; formats "
            f"{', '.join(study.formats)}; conditions {', '.join(study.conditions)}; seeds "
            f"{', '.join(map(str, study.seeds))}; another study: --config study=NAME"
        )


def report_missing():
    """At the end of a failed `--keep-going`: what is missing, and how to get a report without it."""
    if not (workflow.execution_settings.keep_going and report_jobs()):
        return
    unscored = {
        job.wildcards.run for job in workflow.dag.needrun_jobs() if job.rule.name == "score"
    }
    lines = advice(STUDY, [run for run in STUDY.runs() if run.folder in unscored])
    if TERMINAL is None:
        print(*lines, sep="\n", file=sys.stderr)
    else:
        TERMINAL.closing = lines
