"""One training of a study: on its examples, on one device or several, into its folder."""

import json
import logging
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from yoyak.config.frozen import training_science
from yoyak.config.model_config import ModelConfig
from yoyak.config.section import canonical
from yoyak.config.study import Run
from yoyak.data.own_data import describe_data
from yoyak.errors import UserError, imports_are_done, is_out_of_memory
from yoyak.models.checkpoints import resolve_checkpoint
from yoyak.run.devices import claim_devices
from yoyak.run.logs import write_log
from yoyak.run.provenance import fingerprint
from yoyak.run.ranks import RankContext, run_ranks
from yoyak.run.workspace import atomic_write_json, hash_file, publish, work_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What a process needs to train one run."""

    config: ModelConfig
    seed: int
    examples: list[Path]  # of training and selection
    work: Path
    output: Path
    log_file: Path | None
    record: dict  # what run.json says of the inputs


def train_run(
    config: ModelConfig,
    run: Run,
    examples: Path,
    output: Path,
    log_file: Path | None,
    data: dict[str, str] | None,
) -> None:
    """Train, keep the best checkpoint, and move final_model/, the log and run.json into place.

    data: hashes of the raw files, for run.json.
    """
    files = [examples / "train.safetensors", examples / "selection.safetensors"]
    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: no such file; build the examples first (build_dataset.py)")
    log.info("%s", describe_data(examples))
    inputs = [*files, *resolve_checkpoint(config.model).weight_files()]
    assert run.seed is not None  # every training has one
    science = canonical({**training_science(config), "seed": run.seed})
    key = fingerprint("train", science, inputs)
    from yoyak.training.checkpointing import remove_old

    execution = config.execution
    with (
        claim_devices(execution.device, execution.devices) as devices,
        work_folder(output, key) as work,
    ):
        # Packs differ in length: otherwise the memory freed by one would not fit the next.
        os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
        # Threads that spin while waiting starve each other as soon as another program runs.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        record = {"inputs": inputs, "run": run.record(), "fingerprint": key}
        record |= {} if data is None else {"data": data}
        made, finished, hashes = work / "made", work / "finished", work / "finished.json"
        job = Job(config, run.seed, files, work, made, log_file, record)
        # These files are hard links to the published ones, which someone may have changed.
        if finished.is_dir() and read_hashes(hashes) != hash_files(finished):
            log.warning("%s: was changed after the training; made again", output / "final_model")
            shutil.rmtree(finished)
        if finished.is_dir():
            log.info("this training has finished before: its files are put into place again")
        else:
            if len(devices) == 1:
                train_on(devices[0], job)
            else:
                run_ranks(train_as_one_of_several, job, devices)
            atomic_write_json(hashes, hash_files(made))
            made.rename(finished)
        publish(finished, output)
        remove_old(work, newest=0)
    log.info("wrote %s", output / "final_model")


def hash_files(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hash_file(file) for file in files}


def read_hashes(file: Path) -> dict[str, str] | None:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def train_as_one_of_several(job: Job, context: RankContext) -> None:
    """`train_on` in one of several processes; only the first one logs and writes."""
    if context.rank == 0:
        write_log(job.log_file)
    else:
        write_log(None, logging.WARNING)
    from yoyak.training.parallel import process_group

    with process_group(context) as ranks:
        train_on(context.device, job, ranks)


def train_on(device: str, job: Job, ranks=None) -> None:
    """Train on one device, alone or as one of `ranks`, and write the outputs."""
    from yoyak.data.llm_dataset import LLMSummarizationDataset
    from yoyak.training import session
    from yoyak.training.arguments import quiet_libraries
    from yoyak.training.interruption import EXIT_CODE, Interrupted
    from yoyak.training.overflow import NonFiniteLoss

    ranks = ranks or session.ALONE
    train, selection = map(LLMSummarizationDataset.load, job.examples)
    with quiet_libraries():
        try:
            trainer = session.resume_or_start(
                job.config,
                device,
                train,
                selection,
                job.seed,
                job.work,
                job.output,
                ranks,
                job.record,
            )
            imports_are_done()
            trainer.train()
        except NonFiniteLoss as error:
            raise UserError(str(error)) from error
        except Interrupted as notice:
            if ranks.first:
                log.warning("%s", notice)
            sys.exit(EXIT_CODE)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            log.warning("%s", session.record_smaller_plan(job.config, job.work, train))
            sys.exit(EXIT_CODE)
