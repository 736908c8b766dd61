"""How long a study's jobs take on N devices: list scheduling, the longest path first."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

from yoyak.errors import UserError


@dataclass(frozen=True)
class Task:
    """One job that holds `gpus` devices for `seconds`, and starts when those in `after` have ended.

    measured: whether the time was measured, in this study and on this kind of device.
    """

    name: str
    seconds: float
    gpus: int = 1
    after: tuple[str, ...] = ()
    measured: bool = False


@dataclass(frozen=True)
class Slot:
    """When and on which devices (numbers from 0) a task runs; seconds from the start."""

    task: Task
    start: float
    end: float
    devices: tuple[int, ...]


def list_schedule(tasks: Iterable[Task], gpus: int) -> list[Slot]:
    """Give free devices to the ready task with the longest path to the end, again and again.

    No device waits while a ready task fits; so with tasks of one device the makespan is at most
    2 − 1/N times the best one (Graham 1969).

    Raises UserError for a task that wants more devices than there are.
    """
    tasks = list(tasks)
    widest = max(tasks, key=lambda task: task.gpus, default=None)
    if widest is not None and widest.gpus > gpus:
        raise UserError(
            f"--gpus: {widest.name} takes {widest.gpus} devices at once (execution.devices) and "
            f"{gpus} are planned for; plan for at least {widest.gpus}"
        )
    urgency = paths(tasks)
    order = sorted(tasks, key=lambda task: (-urgency[task.name], task.name))
    free = list(range(gpus))
    running: list[tuple[float, int, Slot]] = []
    done: set[str] = set()
    slots: list[Slot] = []
    now = 0.0
    while order or running:
        for task in [task for task in order if done.issuperset(task.after)]:
            if task.gpus <= len(free):
                devices, free = tuple(free[: task.gpus]), free[task.gpus :]
                slot = Slot(task, now, now + task.seconds, devices)
                order.remove(task)
                slots.append(slot)
                heapq.heappush(running, (slot.end, len(slots), slot))
        if not running:
            raise UserError(f"{order[0].name} waits for a job that is not planned")
        now = running[0][0]
        while running and running[0][0] == now:
            slot = heapq.heappop(running)[2]
            done.add(slot.task.name)
            free = sorted([*free, *slot.devices])
    return slots


def paths(tasks: Iterable[Task]) -> dict[str, float]:
    """Seconds from each task's start to the end of the last one that waits for it."""
    tasks = list(tasks)
    waiting: dict[str, list[Task]] = {task.name: [] for task in tasks}
    for task in tasks:
        for before in task.after:
            waiting.setdefault(before, []).append(task)
    found: dict[str, float] = {}

    def path(task: Task) -> float:
        if task.name not in found:
            later = [path(other) for other in waiting[task.name]]
            found[task.name] = task.seconds + max(later, default=0.0)
        return found[task.name]

    for task in tasks:
        path(task)
    return found


def makespan(slots: list[Slot]) -> float:
    return max((slot.end for slot in slots), default=0.0)


def busy_seconds(tasks: Iterable[Task]) -> float:
    """Device-seconds of all tasks."""
    return sum(task.seconds * task.gpus for task in tasks)


def lower_bound(tasks: Iterable[Task], gpus: int) -> float:
    """No schedule on so many devices is shorter: the longest path, and the work shared evenly."""
    tasks = list(tasks)
    return max(max(paths(tasks).values(), default=0.0), busy_seconds(tasks) / gpus)
