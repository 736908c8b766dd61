#!/usr/bin/env python
"""Kill whole debug studies at random moments and prove that nothing is lost and nothing partial.

Runs the embedded debug study (two quarters of its grid in turn: tiny_llama × chat, both
augmentations; tiny_qwen3 × instruction, no augmentation) in temporary copies of the project, kills
the job at work, Snakemake alone (its job is orphaned) or both, by SIGKILL, SIGTERM or SIGINT,
restarts with the documented command, and compares every declared output with an undisturbed run,
byte for byte, after every kill and at the end. Times are left out: see outputs.py. Snakemake may
take back an output of a cheap rule that ended beside the killed job; it is counted as made again.

Examples:
  python tests/workflow/kill_study.py --kills 10 --seed 1
  python tests/workflow/kill_study.py --kills 200 --seed 7 --jobs 2 --summary kills.json

Exit code 1 if a result was lost, an output was ever partial, a restart failed by itself, or work
files are left over.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from moments import deal, draw_moments  # noqa: E402
from outputs import Reference  # noqa: E402
from study_under_fire import StudyUnderFire, Tally  # noqa: E402
from workflow_project import SMALL, Project  # noqa: E402

OTHER = {"models": ["tiny_qwen3"], "formats": ["instruction"], "augmentations": ["none"]}
STUDIES = {"llama": SMALL, "qwen3": {**SMALL, **OTHER}}
KILLS_A_RUN = 20
MOST_ROUNDS = 9  # of further runs, for moments that never came


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the moments; default: 1")
    parser.add_argument("--jobs", type=int, default=1, help="studies under fire side by side")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    parser.add_argument("--summary", type=Path, help="also write the summary here, as JSON")
    return parser.parse_args(arguments)


def main() -> int:
    args = parse_arguments()
    # A shell that starts this in the background ignores SIGINT, and every child would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="yoyak-kills-", dir=args.folder))
    try:
        started = time.monotonic()
        bare, references = undisturbed(folder, STUDIES)
        print(f"undisturbed runs: {time.monotonic() - started:.0f} s", flush=True)
        started = time.monotonic()
        tally = kill_all(folder, bare, references, args.kills, args.seed, args.jobs)
        seconds = time.monotonic() - started
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(summary(tally, seconds))
    if args.summary:
        content = {"seed": args.seed, "seconds": round(seconds), **vars(tally)}
        args.summary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 1 if tally.faults or len(tally.kills) < args.kills else 0


def undisturbed(folder: Path, studies: dict[str, dict]) -> tuple[dict, dict[str, Reference]]:
    """For each study a project in which nothing has run, and what an undisturbed run makes."""
    bare, references = {}, {}
    for name, study in studies.items():
        bare[name] = Project.fresh(folder / f"{name} 요약")
        bare[name].write_study("small", study)
        finished = bare[name].copy(folder / f"{name} undisturbed")
        finished.run()
        references[name] = Reference(finished)
    return bare, references


def kill_all(
    folder: Path,
    bare: dict[str, Project],
    references: dict[str, Reference],
    kills: int,
    seed: int,
    jobs: int = 1,
    a_run: int = KILLS_A_RUN,
) -> Tally:
    """Kill that often, spread over as many runs of the studies as it takes."""
    rng, tally, lock = random.Random(seed), Tally(), threading.Lock()
    free = [
        {name: bare[name].copy(folder / f"{name} {number}") for name in bare}
        for number in range(jobs)
    ]
    started = time.monotonic()

    def report(record: dict) -> None:
        count = len(tally.kills)
        each = (time.monotonic() - started) / count
        print(
            f"{count:4} {' · '.join(map(str, record.values()))} · {each:.1f} s a kill", flush=True
        )

    def one_run(task) -> None:
        number, moments = task
        with lock:
            projects = free.pop()
        name = list(bare)[number % len(bare)]
        under_fire = StudyUnderFire(projects[name], references[name], tally, name)
        before = set(tally.faults)
        under_fire.run(moments, report)
        under_fire.clear_away()
        faults = [fault for fault in tally.faults if fault not in before]
        print(f"     run {number + 1} ({name}) ended: {len(faults)} faults", *faults, sep="\n")
        with lock:
            free.append(projects)

    moments, done = draw_moments(kills, rng), 0
    for _ in range(1 + MOST_ROUNDS):
        rounds = deal(moments, a_run, rng)
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(one_run, enumerate(rounds, start=done)))
        done += len(rounds)
        missing = kills - len(tally.kills)  # moments that never came: a rule was already done
        if missing <= 0:
            break
        moments = draw_moments(missing, rng)
    return tally


def table(kills: list[dict]) -> str:
    """Kills by rule and phase, and by victim and signal."""
    by_phase = Counter((kill["rule"], kill["phase"]) for kill in kills)
    phases = list(dict.fromkeys(phase for _, phase in sorted(by_phase)))
    rules = list(dict.fromkeys(kill["rule"] for kill in kills))
    lines = ["rule".ljust(20) + "".join(phase.rjust(15) for phase in phases)]
    for rule in rules:
        counts = [str(by_phase[rule, phase] or "·").rjust(15) for phase in phases]
        lines.append(rule.ljust(20) + "".join(counts))
    hits = Counter((kill["victim"], kill["signal"]) for kill in kills)
    signals = [number.name for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)]
    lines += ["", "victim".ljust(20) + "".join(name.rjust(15) for name in signals)]
    for victim in ("job", "snakemake", "group"):
        counts = [str(hits[victim, name] or "·").rjust(15) for name in signals]
        lines.append(victim.ljust(20) + "".join(counts))
    return "\n".join(lines)


def summary(tally: Tally, seconds: float) -> str:
    count = len(tally.kills)
    lines = [
        "",
        table(tally.kills),
        "",
        f"kills                  {count} in {seconds / 60:.1f} min, "
        f"{seconds / max(count, 1):.1f} s a kill, final runs included",
        f"orphans left running   {tally.orphans}, which kept {tally.refused} restarts out in words",
        f"gone on from saved     {tally.resumed} trainings",
        f"Snakemake hung         {tally.hung} times on a signal, and was killed outright",
        f"made again             {len(tally.made_again)} outputs of cheap rules",
        f"lost results           {len(tally.lost)}",
        f"partial outputs        {len(tally.partial)}",
        f"failed restarts        {len(tally.failures)}",
        f"left over              {len(tally.leftovers)}",
    ]
    return "\n".join(lines + tally.faults)


if __name__ == "__main__":
    sys.exit(main())
