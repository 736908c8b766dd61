"""Compare an engine with transformers' own forward, on real examples, before anything is trained.

Two questions. *Values*: do the losses and logits of each row equal those of `models.reference`?
*Leaks*: does a row change when the tokens of the other rows change? It must not, by even one bit.
What no example can show, such as a window longer than all of them, cannot matter; it is reported.
"""

import time
from dataclasses import asdict, dataclass, field, replace

import torch
from torch.nn.functional import cross_entropy

from yoyak.data.packing import IGNORED, Pack, build_pack
from yoyak.data.padding import PaddedBatch, build_padded
from yoyak.errors import UserError, device_fault, is_out_of_memory, one_line
from yoyak.models.reference import (
    LOGITS_TOLERANCE,
    LOSS_TOLERANCE,
    OWN_ATTENTION,
    evaluation_mode,
    has_experts,
    reference_logits,
    spread,
    takes_attention,
    unreached_windows,
)
from yoyak.run.plan import Plan
from yoyak.training.loss import batch_logits, batch_loss, model_logits, number_format

SCALES = (2.0**16, 2.0**12, 2.0**8, 2.0**4, 1.0)  # of a float16 loss: where its scaler may settle
EDGE = 8  # places at a row's beginning and end that are looked at for leaks


@dataclass
class Reference:
    """Real examples with their losses and logits by transformers' own forward.

    left_out: examples too long for eager attention, whose memory grows with a row's square.

    rows: {"input_ids", "labels"}, on the device. logits: of each row's supervised positions,
    (n, vocabulary) float32. losses: mean loss of each row.
    """

    rows: list[dict]
    logits: list[torch.Tensor]
    losses: list[float]
    seconds: float
    left_out: list[str]


@dataclass
class Check:
    """Result of the comparison, for the log and run.json.

    tolerance: largest allowed differences of loss and logits.
    loss_difference: largest, as a share of the row's loss (or of 1, where that is smaller).
    logits_difference: largest root mean square, as a share of the logits' own spread.
    leak: largest change of a row caused by its neighbours; 0.0 means bit-equal.
    problem: why the engine must not be used; None: it equals the reference.
    """

    engine: str
    tolerance: tuple[float, float]
    rows: int
    longest: int
    loss_difference: float | None = None
    logits_difference: float | None = None
    leak: float | None = None
    problem: str | None = None
    not_shown: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def record(self) -> dict:
        return asdict(self)

    def line(self) -> str:
        """One line for the log."""
        if self.problem:
            return f"engine check, {self.engine}: not used: {self.problem}"
        notes = "".join(f"; {note}" for note in self.not_shown)
        return (
            f"engine check, {self.engine}: {self.rows} examples equal transformers' own forward "
            f"(loss {self.loss_difference:.1e} of {self.tolerance[0]:.0e} allowed, logits "
            f"{self.logits_difference:.1e} of {self.tolerance[1]:.0e}; neighbours "
            f"{self.leak:.1e}){notes}"
        )


def pick_examples(*datasets) -> list[dict]:
    """A few real examples: the longest, the shortest, and two in between."""
    places = [
        (int(n), which, i) for which, d in enumerate(datasets) for i, n in enumerate(d.lengths)
    ]
    places.sort()
    last = len(places) - 1
    chosen = dict.fromkeys(places[index] for index in (last // 3, last, 0, 2 * last // 3))
    return [datasets[which][index] for _, which, index in chosen]


def make_reference(model, rows: list[dict], plan: Plan) -> Reference:
    """The reference's losses and logits; the model must run its own layers.

    Raises UserError where the model's own forward fails.
    """
    started = time.perf_counter()
    found = Reference([], [], [], 0.0, [])
    with evaluation_mode(model), number_format(plan):
        for row in rows:
            row = {name: part.to(plan.device) for name, part in row.items()}
            targets = row["labels"][1:]
            positions = torch.nonzero(targets != IGNORED).squeeze(1)
            try:
                logits = reference_logits(model, row["input_ids"], positions)
            except Exception as error:
                if not is_out_of_memory(error) and device_fault(error) is None:
                    raise UserError(
                        f"the model's own forward fails ({type(error).__name__}: "
                        f"{one_line(error)[:200]}); choose another checkpoint"
                    ) from error
                last = len(found.left_out) + 1 == len(rows)
                if last or not is_out_of_memory(error):
                    raise
                found.left_out.append(f"an example of {len(targets) + 1:,} tokens: no memory")
                continue
            found.rows.append(row)
            found.logits.append(logits)
            found.losses.append(cross_entropy(logits, targets[positions]).item())
    found.seconds = time.perf_counter() - started
    return found


def equal(one: Reference, other: Reference) -> bool:
    """Whether the own forward gave the same result twice, bit by bit."""
    return all(map(torch.equal, one.logits, other.logits))


def check_engine(model, reference: Reference, plan: Plan) -> Check:
    """Compare the engine that `plan` names, which must be in place, with the reference.

    An error inside the engine is a finding; only memory that runs out and a broken
    device are raised.
    """
    longest = max(len(row["input_ids"]) for row in reference.rows)
    dtype = getattr(torch, plan.compute_dtype)
    tolerance = (LOSS_TOLERANCE[dtype], LOGITS_TOLERANCE[dtype])
    found = Check(plan.runs(), tolerance, len(reference.rows), longest)
    found.not_shown = unreached_windows(model, longest) + reference.left_out
    if plan.engine == "packed" and not takes_attention(model):
        found.problem = OWN_ATTENTION
        return found
    started = time.perf_counter()
    try:
        with evaluation_mode(model), number_format(plan):
            with torch.no_grad():
                _compare_values(model, reference, plan, found)
                found.leak = _largest_leak(model, reference.rows, plan)
            found.problem = _problem(model, found) or _backward_problem(model, reference, plan)
    except Exception as error:
        if is_out_of_memory(error) or device_fault(error) is not None:
            raise
        found.problem = f"{type(error).__name__}: {one_line(error)[:200]}"
    found.seconds = round(reference.seconds + time.perf_counter() - started, 2)
    return found


def _compare_values(model, reference: Reference, plan: Plan, found: Check) -> None:
    losses, differences, total, count = [], [], 0.0, 0
    for batch, members in _batches(reference.rows, plan):
        for member, logits, targets in _by_row(
            batch, members, batch_logits(model, batch, plan.head)
        ):
            expected = reference.losses[member]
            loss = cross_entropy(logits.float(), targets).item()
            losses.append(abs(loss - expected) / max(1.0, expected))
            differences.append(spread(logits, reference.logits[member]))
            total, count = total + expected * len(targets), count + len(targets)
        total -= batch_loss(model, batch, plan.head).item()
    losses.append(abs(total) / count)
    found.loss_difference, found.logits_difference = _worst(losses), _worst(differences)


def _largest_leak(model, rows: list[dict], plan: Plan) -> float:
    """How much a row changes when the tokens of all other rows are reversed."""
    largest = [0.0]
    for kept in {1 % len(rows), len(rows) - 1}:
        changed = [
            row if index == kept else {**row, "input_ids": row["input_ids"].flip(0)}
            for index, row in enumerate(rows)
        ]
        before, after = (
            _edges(model, *next(b for b in _batches(some, plan) if kept in b[1]), kept)
            for some in (rows, changed)
        )
        if not torch.equal(before, after):
            largest.append(spread(after, before.float()))
    return _worst(largest)


def _edges(model, batch, members: list[int], kept: int) -> torch.Tensor:
    """Logits at the first and last places of one row of a micro-batch."""
    row = members.index(kept)
    if isinstance(batch, Pack):
        start, end = batch.boundaries[row : row + 2]
        places = torch.arange(start, end, device=batch.input_ids.device)
        return model_logits(model, replace(batch, supervised=_ends(places)))
    places = torch.arange(int(batch.attention_mask[row].sum()), device=batch.input_ids.device)
    return model_logits(model, replace(batch, columns=_ends(places)))[row]


def _ends(places: torch.Tensor) -> torch.Tensor:
    return torch.cat([places[:EDGE], places[EDGE:][-EDGE:]])


def _batches(rows: list[dict], plan: Plan) -> list[tuple[Pack | PaddedBatch, list[int]]]:
    """Micro-batches as the plan makes them for training, and the rows in each."""
    groups = [[index] for index in range(len(rows))] if plan.one_row else [list(range(len(rows)))]
    build = build_padded if plan.engine == "plain" else build_pack
    host = [{name: part.cpu() for name, part in row.items()} for row in rows]
    return [
        (build([host[index] for index in group], group).to(plan.device), group) for group in groups
    ]


def _by_row(batch, members: list[int], logits: torch.Tensor):
    """(row, its logits, its targets) of a micro-batch."""
    if isinstance(batch, PaddedBatch):
        for place, member in enumerate(members):
            there = batch.targets[place] != IGNORED
            yield member, logits[place][there], batch.targets[place][there]
        return
    ends = torch.searchsorted(batch.supervised, batch.cu_seq_lens[1:].long()).tolist()
    for member, start, end in zip(members, [0, *ends], ends, strict=False):
        yield member, logits[start:end], batch.targets[start:end]


def _problem(model, found: Check) -> str | None:
    """Why the numbers rule the engine out, or None."""
    values = (found.loss_difference, found.logits_difference)
    for name, value, allowed in zip(("loss", "logits"), values, found.tolerance, strict=True):
        if value is None or not value <= allowed:  # NaN is no better
            differs = "differs" if name == "loss" else "differ"
            return (
                f"the {name} {differs} from transformers' own forward by {value:.1e} "
                f"(allowed: {allowed:.0e})"
            )
    # Experts' products change their shape, and so their rounding, with the other rows' routing.
    allowed = found.tolerance[1] if has_experts(model) else 0.0
    if found.leak is None or not found.leak <= allowed:
        return f"a row changes by {found.leak:.1e} when the rows beside it do"
    return None


def _backward_problem(model, reference: Reference, plan: Plan) -> str | None:
    """A backward pass, dropout included: it must run, and give finite gradients.

    In float16 the loss is scaled as its scaler would begin, and less where that overflows. Only a
    model that would overflow unscaled is a problem: the scaler finds any other scale by itself.
    """
    rows = reference.rows
    if plan.gradient_checkpointing and plan.layers == "own":  # the Trainer turns that on later
        rows = [min(rows, key=lambda row: len(row["input_ids"]))]
    supervised = sum(int((row["labels"][1:] != IGNORED).sum()) for row in rows)
    model.train()
    trained = [part for part in model.parameters() if part.requires_grad]
    for scale in SCALES if plan.compute_dtype == "float16" else (1.0,):
        for batch, _ in _batches(rows, plan):
            (batch_loss(model, batch, plan.head) * (scale / supervised)).backward()
        finite = all(bool(p.grad.isfinite().all()) for p in trained if p.grad is not None)
        for part in trained:
            part.grad = None
        if finite:
            return None
    return f"the gradients of the first examples are not finite in {plan.compute_dtype}"


def _worst(numbers: list[float]) -> float:
    """The largest; NaN where there is one."""
    return float(torch.tensor(numbers, dtype=torch.float64).max())
