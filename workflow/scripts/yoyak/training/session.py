"""One training of a study: make its plan, load the model, resume from a checkpoint."""

import logging
from dataclasses import replace
from pathlib import Path

import torch

from yoyak.config.model_config import ModelConfig
from yoyak.data.llm_dataset import LLMSummarizationDataset
from yoyak.models.lora_loader import LoRALoader
from yoyak.run.plan import Plan
from yoyak.training.checkpointing import newest_checkpoint, read_facts
from yoyak.training.llm_trainer import LLMTrainer
from yoyak.training.out_of_memory import forced_plan, note_plan, step_down
from yoyak.training.parallel import Ranks
from yoyak.training.plans import ALONE, facts_of, make_plan

log = logging.getLogger(__name__)


def resume_or_start(
    config: ModelConfig,
    device: str,
    train_set: LLMSummarizationDataset,
    selection_set: LLMSummarizationDataset,
    seed: int,
    work: Path,
    output: Path,
    ranks: Ranks = ALONE,
    record: dict | None = None,
) -> LLMTrainer:
    """Plan, load the model as planned, and hand it to a trainer that writes to `output`.

    Checkpoints go to `work`. An existing checkpoint keeps its plan and engine, so that a resumed
    run equals an uninterrupted one; only after running out of memory is the smaller recorded plan
    used. A training may resume on more or fewer devices. The contents of `output` are replaced:
    Snakemake owns a study's folder, and train_llm.py checks before a training by hand.
    """
    # Only in the first process: it may convert a checkpoint, and it cleans the work folder.
    shape = ranks.from_first(lambda: LoRALoader(config).decoder.shape)
    plan = make_plan(config, shape, device, train_set, ranks, seed=seed)
    kept, checks = ranks.from_first(lambda: _kept_plan(work))
    if kept is not None:
        graphs = kept.graphs and plan.devices == 1
        plan = replace(kept, devices=plan.devices, threads=plan.threads, graphs=graphs)
    ranks.from_first(lambda: note_plan(work, plan))  # should memory run out while loading
    loader = LoRALoader(
        config, device=plan.device, base_weights=plan.base_weights, compute_dtype=plan.compute_dtype
    )
    torch.set_num_threads(plan.threads)
    model, tokenizer = loader.load_model_and_tokenizer(seed=seed)
    ranks.share_adapters(model)
    trainer = LLMTrainer(
        config, model, tokenizer, train_set, selection_set,
        output_dir=output, work=work, seed=seed, plan=plan, checks=checks, fixed=kept is not None,
        shape=shape, ranks=ranks, record=record, overwrite=True,
    )  # fmt: skip
    log.info("execution plan\n%s", trainer.plan.table())
    return trainer


def _kept_plan(work: Path) -> tuple[Plan | None, list[dict] | None]:
    """The recorded plan and the checks that it passed; None for what has to be made."""
    checkpoint = newest_checkpoint(work)
    facts = read_facts(checkpoint) if checkpoint else {}
    plan = forced_plan(work) or (Plan(**facts["plan"]) if facts else None)
    return plan, facts.get("checks")


def record_smaller_plan(config: ModelConfig, work: Path, train_set: LLMSummarizationDataset) -> str:
    """After running out of memory: record the next smaller plan; returns what to tell the user.

    Raises UserError when none is left.
    """
    shape = LoRALoader(config).decoder.shape
    smaller = step_down(work, config, shape, **facts_of(train_set))
    return (
        "the device is out of memory; run the same command again, it resumes from the last "
        f"checkpoint with a smaller plan\n{smaller.table()}"
    )
