"""The runs that a report lacks after `--keep-going`, and how to get a report without them."""

from yoyak.config.loading import settings_file
from yoyak.config.study import FEW_SHOT, Run, Study
from yoyak.errors import display

AXES = {"models": "model", "variants": "variant", "formats": "format"}
AXES |= {"augmentations": "augmentation", "seeds": "seed"}
NAMED = 6  # runs that are listed by name


def advice(study: Study, missing: list[Run]) -> list[str]:
    """Lines that name the runs without scores and what to take out of the study's grid.

    A study is the full grid of models, variants, formats, augmentations and seeds, so only whole
    values can be removed: the advice is the choice that keeps the most trainings. Empty if no run
    is missing.
    """
    if not missing:
        return []
    names = [run.name for run in missing]
    listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if names[NAMED:] else "")
    file = display(settings_file("study", study.source))
    lines = [f"missing for the report, {len(missing)} of {len(study.runs())} runs: {listed}"]
    if all(run.condition == FEW_SHOT for run in missing):
        return [*lines, f"a report without them: set few_shot: 0 in {file}; run the same command"]
    axis, values, kept = _cheapest(study, missing)
    if not kept:
        return [
            *lines,
            "no report is possible without them: fix the cause and run the same command again",
        ]
    out = ", ".join(map(str, values))
    return [
        *lines,
        f"for a report without them, remove {out} from `{axis}` in {file} and run the same "
        f"command; it keeps {kept} of {len(study.trainings())} trainings",
    ]


def _cheapest(study: Study, missing: list[Run]) -> tuple[str, list, int]:
    """(axis, its values to take out, trainings that stay) with the most that stay."""
    lost = [
        run for run in study.trainings() if {run, run.zero_shot, run.few_shot}.intersection(missing)
    ]
    best: tuple[str, list, int] = ("", [], 0)
    for axis, name in AXES.items():
        values = list(dict.fromkeys(getattr(run, name) for run in lost))
        kept = sum(getattr(run, name) not in values for run in study.trainings())
        if kept > best[2]:
            best = (axis, values, kept)
    return best
