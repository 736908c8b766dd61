"""The table that plan.py prints: a row a training, with what it would take."""

from yoyak.config.study import Study
from yoyak.run.estimate import Estimate
from yoyak.run.memory import GIB
from yoyak.run.plan import GPU_RESERVE

COLUMNS = (
    *("training", "steps", "tokens", "device", "base", "micro-batch", "recompute", "fused"),
    *("dtype", "takes here", "smallest that works", "time"),
)


def plan_row(name: str, found: Estimate) -> list[str]:
    plan = found.plan
    cuda = plan.device != "cpu"
    return [
        name,
        f"{found.steps:,}",
        f"{found.tokens / 1e6:.1f} M",
        plan.device if plan.devices == 1 else f"{plan.devices} × {plan.device.split(':')[0]}",
        plan.base_weights,
        f"{plan.token_budget:,}",
        "yes" if plan.gradient_checkpointing else "no",
        "yes" if plan.compile else "no",
        plan.compute_dtype,
        f"{(plan.predicted_bytes + GPU_RESERVE) / GIB:.1f} GiB" if cuda else "no GPU",
        f"{found.smallest_bytes / GIB:.1f} GiB",
        in_words(found.seconds),
    ]


def in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def print_table(rows: list[list[str]]) -> None:
    """Aligned columns below their heads; a row of two cells is a remark and widens no column."""
    rows = [list(COLUMNS), *rows]
    whole = [row for row in rows if len(row) == len(COLUMNS)]
    widths = [max(len(row[i]) for row in whole) for i in range(len(COLUMNS))]
    widths[0] = max(len(row[0]) for row in rows)
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join(cells).rstrip())


def total_time(study: Study, seconds: dict[int, float]) -> str:
    """Time of all trainings and, where there are several seeds, of the first one's."""
    text = f"All trainings: about {in_words(sum(seconds.values()))}"
    if len(study.seeds) == 1:
        return text
    first = study.seeds[0]
    return (
        f"Trainings of seed {first}, which go first: about {in_words(seconds.get(first, 0.0))} "
        f"(--config 'seeds=[{first}]' stops there).\n{text}"
    )
