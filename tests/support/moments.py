"""When, whom and how to kill: drawn from a seed, so that every rule and phase has its turn."""

import random
import signal
from dataclasses import dataclass

# In the order in which a study comes to them, with the share of kills that each gets.
WEIGHTS = {
    "snakemake": 5,  # starting, or between two jobs
    "prepare_data": 4,
    "build_dataset": 7,
    "train": 22,
    "generate_zero_shot": 8,
    "generate": 12,
    "submission": 4,
    "floors": 4,
    "score": 7,
    "compare": 6,
    "plot": 6,
    "model_card": 4,
    "report": 4,
}
SIGNALS = {signal.SIGKILL: 6, signal.SIGTERM: 3, signal.SIGINT: 2}
VICTIMS = {"job": 5, "snakemake": 3, "group": 4}
# "time": anywhere in the job; the others wait for what they are named after.
TRIGGERS = {"time": 5, "writing": 2, "written": 2}
TRAIN_TRIGGERS = {"time": 5, "checkpoint": 4, "resumable": 2, "writing": 2, "written": 2}


@dataclass(frozen=True)
class Moment:
    """One kill to come.

    Attributes:
        rule: whose job must be running.
        trigger: what to wait for once it is. share: part of the job's usual time to wait when the
            trigger is the time; else part of JITTER.
        victim: the job alone, Snakemake alone (which leaves orphans), or its process group.
        wait_for_orphans: whether what is left over may end by itself before the restart.
    """

    rule: str
    trigger: str
    share: float
    victim: str
    signal: signal.Signals
    wait_for_orphans: bool


def draw_moments(kills: int, rng: random.Random) -> list[Moment]:
    """As many moments; each rule comes once before the weights decide."""
    rules = list(WEIGHTS)
    first = sorted(rules, key=lambda rule: -WEIGHTS[rule])[:kills]
    more = rng.choices(rules, WEIGHTS.values(), k=kills - len(first))
    return [draw_moment(rule, rng) for rule in first + more]


def draw_moment(rule: str, rng: random.Random) -> Moment:
    triggers = {"train": TRAIN_TRIGGERS, "snakemake": {"time": 1}}.get(rule, TRIGGERS)
    victims = {key: n for key, n in VICTIMS.items() if rule != "snakemake" or key != "job"}
    return Moment(
        rule,
        _choose(triggers, rng),
        rng.random(),
        _choose(victims, rng),
        _choose(SIGNALS, rng),
        rng.random() < 0.5,
    )


def deal(moments: list[Moment], a_round: int, rng: random.Random) -> list[list[Moment]]:
    """Rounds of about `a_round` kills each, in the order in which a study comes to the rules."""
    moments = rng.sample(moments, len(moments))
    rounds = -(-len(moments) // a_round)
    order = {rule: place for place, rule in enumerate(WEIGHTS)}
    # Snakemake itself may be killed between any two of the others.
    places = [
        rng.uniform(0, len(order)) if moment.rule == "snakemake" else order[moment.rule]
        for moment in moments
    ]
    numbers = sorted(range(len(moments)), key=lambda number: places[number])
    return [
        [moments[number] for number in numbers if number % rounds == of_round]
        for of_round in range(rounds)
    ]


def _choose(weights: dict, rng: random.Random):
    return rng.choices(list(weights), list(weights.values()))[0]
