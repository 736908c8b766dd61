"""The table that plan.py prints: one row per training, with its plan, memory and time."""

from yoyak.config.study import Run, Study
from yoyak.run.estimate import Estimate
from yoyak.run.memory import GIB
from yoyak.run.planning import GPU_RESERVE

COLUMNS = (
    *("training", "steps", "tokens", "device", "base", "micro-batch", "recompute", "layers"),
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
        plan.layers,
        plan.compute_dtype,
        f"{(plan.predicted_bytes + GPU_RESERVE) / GIB:.1f} GiB" if cuda else "no GPU",
        f"{found.smallest_bytes / GIB:.1f} GiB",
        in_words(found.seconds),
    ]


def in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def print_table(rows: list[list[str]]) -> None:
    """Print aligned columns with headings; a row of two cells is a remark and widens no column."""
    rows = [list(COLUMNS), *rows]
    whole = [row for row in rows if len(row) == len(COLUMNS)]
    widths = [max(len(row[i]) for row in whole) for i in range(len(COLUMNS))]
    widths[0] = max(len(row[0]) for row in rows)
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join(cells).rstrip())


def total_time(study: Study, seconds: dict[Run, float]) -> str:
    """Time of all trainings; where there are several, of each variant's and of the first seed's."""
    lines = []
    if len(study.variants) > 1:
        for name in study.variants:
            of_variant = sum(took for run, took in seconds.items() if run.variant == name)
            lines.append(
                f"Trainings of variant {name}: about {in_words(of_variant)} "
                f"(--config 'variants=[{name}]' runs these alone)."
            )
    if len(study.seeds) > 1:
        first = study.seeds[0]
        of_seed = sum(took for run, took in seconds.items() if run.seed == first)
        lines.append(
            f"Trainings of seed {first}, which go first: about {in_words(of_seed)} "
            f"(--config 'seeds=[{first}]' stops there)."
        )
    return "\n".join([*lines, f"All trainings: about {in_words(sum(seconds.values()))}"])
