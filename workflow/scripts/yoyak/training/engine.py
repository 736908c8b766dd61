"""Choose the training engine: the fastest that equals transformers' own forward on this model."""

import logging
from collections.abc import Callable, Iterator
from functools import partial

from yoyak.errors import UserError
from yoyak.kernels.compiled_layers import compile_decoder_layers
from yoyak.kernels.decoder_layers import fuse_decoder_layers, separate_decoder_layers
from yoyak.models.attention import PACKED
from yoyak.models.reference import EAGER, causal_lm, set_attention, takes_attention
from yoyak.run.plan import Engine, Plan
from yoyak.training.check import Check, Reference, check_engine, equal, make_reference

log = logging.getLogger(__name__)

PACKED_ENGINES = (
    Engine(),
    Engine(layers="compiled"),
    Engine(head="model", layers="compiled"),
    Engine(layers="own"),
    Engine(head="model", layers="own"),
)


def engines(choice: str, own_attention: str) -> tuple[Engine, ...]:
    """The engines that `execution.engine` allows, fastest first.

    own_attention: the implementation that transformers chose for the class. If it is not eager,
        eager is tried after it: some releases omit Gemma 2's softcap from theirs.
    """
    attentions = (True,) if own_attention == EAGER else (False, True)
    plain = tuple(
        Engine("plain", layers="own", one_row=one_row, eager=eager)
        for one_row in (False, True)
        for eager in attentions
    )
    return {"auto": PACKED_ENGINES + plain, "packed": PACKED_ENGINES, "plain": plain}[choice]


def apply_plan(model, plan: Plan, own_attention: str | None = None) -> None:
    """Make a model compute as `plan` says; may be called again, with another plan, too.

    own_attention: the implementation that transformers chose for the class; None: it is in place.
    """
    separate_decoder_layers(model)
    attention = PACKED if plan.engine == "packed" else own_attention
    if plan.eager:
        attention = EAGER
    if attention is not None and (attention != PACKED or takes_attention(model)):
        set_attention(model, attention)
    if plan.layers == "fused":
        fuse_decoder_layers(model, recompute=plan.gradient_checkpointing)
    elif plan.layers == "compiled":
        compile_decoder_layers(causal_lm(model), recompute=plan.gradient_checkpointing)


def restore_model(model, own_attention: str) -> None:
    """Restore a model to transformers' own layers and attention."""
    separate_decoder_layers(model)
    causal_lm(model).set_attn_implementation(own_attention)


def choose_engine(
    model, rows: list[dict], choice: str, make_plan: Callable[[Engine], Plan]
) -> tuple[Plan, list[Check]]:
    """Try the engines in turn; the first that passes its check stays in place.

    Args:
        model: with transformers' own attention, on its device.
        rows: examples to check on. choice: `execution.engine`.
        make_plan: the plan for an engine on the model's device.

    Returns:
        The plan, and all checks: the last one passed.

    Raises:
        UserError: none passes; nothing was trained.
    """
    own_attention = causal_lm(model).config._attn_implementation
    plans = partial(_plans, engines(choice, own_attention), make_plan)
    reference = make_reference(model, rows, next(plans()))
    plan, checks = _first_right(model, reference, plans(), own_attention)
    if checks[-1].problem and not equal(reference, again := make_reference(model, rows, plan)):
        log.warning("transformers' own forward gave another result the second time: checking anew")
        plan, checks = _first_right(model, again, plans(), own_attention)
    last = checks[-1]
    if last.problem:
        raise UserError(
            f"this model cannot be trained here ({last.engine}): {last.problem}; "
            f"{_cure(choice, plan)}"
        )
    if plan.engine == "plain" and choice == "auto":
        log.warning("the packed engine is not right for this model: it takes the plain one")
    return plan, checks


def _first_right(
    model, reference: Reference, plans: Iterator[Plan], own_attention: str
) -> tuple[Plan, list[Check]]:
    """The first plan that passes (in place), else the last one; and all checks made."""
    checks: list[Check] = []
    for plan in plans:
        checks.append(_checked(model, reference, plan, own_attention))
        log.info("%s", checks[-1].line())
        if checks[-1].problem is None:
            break
    return plan, checks


def _checked(model, reference: Reference, plan: Plan, own_attention: str) -> Check:
    """The check of a plan; that its fused layers do not cover this model is a finding, too."""
    try:
        apply_plan(model, plan, own_attention)
    except UserError as error:
        return Check(plan.runs(), (0.0, 0.0), len(reference.rows), 0, problem=str(error))
    return check_engine(model, reference, plan)


def _cure(choice: str, plan: Plan) -> str:
    if choice == "packed":
        return "set execution.engine: auto"
    if plan.compute_dtype == "float16":
        return "set model.dtype: bf16"
    return "choose another checkpoint"


def _plans(tried: tuple[Engine, ...], make_plan: Callable[[Engine], Plan]) -> Iterator[Plan]:
    """A plan for each engine; where one does not apply or pay, two engines have the same."""
    before = None
    for engine in tried:
        plan = make_plan(engine)
        if plan != before:
            yield plan
        before = plan
