"""The GPU steps of a study without Snakemake, several runs at once on each GPU.

    python tests/benchmarks/study_in_lanes.py --study dialogsum_english --lanes 3 --minutes 9

For a machine that lacks Snakemake, and for models so small that one training leaves most of a GPU
idle. The commands are those of workflow/rules/, so that score.py, compare.py, plot.py and report.py
go on from the results anywhere. What is finished is skipped; what ran out of time or memory goes on
where it stopped when the same command is given again.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))

from yoyak.config.study import Study, load_study  # noqa: E402
from yoyak.run.devices import count_gpus  # noqa: E402

TO_BE_RESUMED = 75


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--study", required=True)
    parser.add_argument("--lanes", type=int, default=3, help="jobs at once on each GPU; default: 3")
    parser.add_argument("--minutes", type=float, default=60, help="start nothing and stop after it")
    parser.add_argument("--debug", action="store_true")
    args = parser.parse_args()
    study = load_study(args.study, debug=args.debug)
    end = time.monotonic() + 60 * args.minutes
    gpus = max(1, count_gpus())
    claims = SimpleQueue()
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(args.lanes * gpus) as lanes:
        # A claim is a lock in the temporary folder: jobs with different ones share a GPU.
        for lane in range(args.lanes):
            folder = Path(scratch) / str(lane)
            folder.mkdir()
            for _ in range(gpus):
                claims.put(folder)

        def steps(job: list[tuple]) -> None:
            folder = claims.get()
            try:
                for step in job:
                    run(study, end, folder, *step)
            finally:
                claims.put(folder)

        steps([("prepare_data.py", study.results / "data", "data_card.json")])
        list(lanes.map(steps, examples(study)))
        list(lanes.map(steps, runs(study)))


def examples(study: Study) -> list[list[tuple]]:
    """One job for each model × format × augmentation: its tokenised examples."""
    data = ["--data", study.results / "data"]
    jobs = {}
    for trained in study.trainings():
        where = Path(trained.model) / trained.format / trained.augmentation
        options = ["--experiment", trained.model, "--format", trained.format]
        options += ["--augmentation", trained.augmentation, *data]
        output = study.results / "examples" / where
        jobs[where] = [("build_dataset.py", output, "statistics.json", *options)]
    return list(jobs.values())


def runs(study: Study) -> list[list[tuple]]:
    """One job for each model untrained, and for each training with its summaries."""
    data = ["--data", study.results / "data"]
    jobs = []
    for model in study.models:
        for form in study.formats:
            output = study.results / "zero_shot" / model / form / "predictions"
            options = ["--experiment", model, "--format", form, *data]
            jobs.append([("generate.py", output, "run.json", *options)])
            if study.settings.few_shot:
                output = study.results / "few_shot" / model / form / "predictions"
                few_shot = ["--few-shot", study.settings.few_shot]
                jobs.append([("generate.py", output, "run.json", *options, *few_shot)])
    for trained in sorted(study.trainings(), key=lambda trained: trained.augmentation):
        run_folder = study.results / trained.folder
        model = ["--experiment", trained.model, "--variant", trained.variant]
        model += ["--format", trained.format, "--seed", trained.seed]
        tokens = study.results / trained.examples
        train = [*model, "--augmentation", trained.augmentation, "--examples", tokens]
        adapter = ["--adapter", run_folder / "final_model", "--condition", trained.condition]
        summaries = run_folder / "predictions"
        jobs.append(
            [
                ("train_llm.py", run_folder, "run.json", *train),
                ("generate.py", summaries, "run.json", *model, *adapter, *data),
            ]
        )
    return jobs


def run(
    study: Study, end: float, claims: Path, script: str, output: Path, proof: str, *options
) -> None:
    """Run a script until its last file is there: twice more where it left to be resumed."""
    command = [sys.executable, SCRIPTS / script, "--study", study.source]
    command += ["--debug"] * study.debug + [*options, "--output-dir", output]
    log = Path("logs") / study.name / "lanes" / f"{script}-{str(output).replace('/', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(3):
        left = end - time.monotonic()
        if (output / proof).is_file() or left < 1:
            return
        started = time.monotonic()
        with open(log, "a") as file:
            job = subprocess.Popen(
                list(map(str, command)),
                stdout=file,
                stderr=file,
                env=os.environ | {"TMPDIR": str(claims)},
            )
            try:
                code = job.wait(left)
            except subprocess.TimeoutExpired:
                job.terminate()
                code = job.wait()
        print(f"{time.monotonic() - started:6.1f} s  code {code}  {script} {output}", flush=True)
        if code not in (0, TO_BE_RESUMED):
            print(f"see {log}", flush=True)
            return


if __name__ == "__main__":
    main()
