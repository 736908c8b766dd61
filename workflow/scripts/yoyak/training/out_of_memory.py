"""After a training runs out of device memory: a smaller plan to resume with.

The plan in use and then the smaller one are kept in the work folder beside the checkpoints. The
same command resumes from the newest checkpoint with the smaller plan.
"""

import json
from pathlib import Path

from yoyak.config.model_config import ModelConfig
from yoyak.errors import UserError
from yoyak.run.memory import ModelShape
from yoyak.run.plan import Plan
from yoyak.run.planning import next_smaller
from yoyak.run.workspace import atomic_write_text

IN_USE, FORCED = "plan.json", "smaller_plan.json"


def note_plan(work: Path, plan: Plan) -> None:
    """Record the plan that is about to be tried, so that `step_down` knows it."""
    _write(work / IN_USE, plan)


def forced_plan(work: Path) -> Plan | None:
    """The smaller plan that an earlier attempt left, or None."""
    return _read(work / FORCED)


def step_down(work: Path, config: ModelConfig, shape: ModelShape, **facts) -> Plan:
    """Record the next smaller plan; returns it. config, shape, facts: as in `next_smaller`.

    Raises UserError when the plan in use was already the smallest.
    """
    plan = _read(work / IN_USE)
    smaller = plan and next_smaller(plan, config, shape, **facts)
    if smaller is None:
        raise UserError(
            "the device is out of memory and no smaller plan is left; free the device, shorten "
            "tokenizer.encoder_max_len or choose a smaller model"
        )
    _write(work / FORCED, smaller)
    return smaller


def _write(file: Path, plan: Plan) -> None:
    atomic_write_text(file, json.dumps(plan.record(), indent=1, sort_keys=True) + "\n")


def _read(file: Path) -> Plan | None:
    try:
        return Plan(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # absent, cut short, or of another version
        return None
