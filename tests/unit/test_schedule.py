"""List scheduling: dependencies kept, no device twice at once, close to the lower bounds."""

import random

import pytest

from yoyak.errors import UserError
from yoyak.run.schedule import (
    Task,
    busy_seconds,
    list_schedule,
    lower_bound,
    makespan,
    paths,
)


def study(count: int, seed: int, widths=(1,)) -> list[Task]:
    """Trainings of very different lengths, a generation after each, and some that wait for none."""
    draw = random.Random(seed)
    tasks = [Task(f"zero {n}", draw.uniform(1, 9)) for n in range(count // 2)]
    for number in range(count):
        gpus = draw.choice(widths)
        train = Task(f"train {number}", draw.choice((10, 60, 300)) * draw.random(), gpus)
        tasks += [train, Task(f"generate {number}", draw.uniform(1, 9), after=(train.name,))]
    draw.shuffle(tasks)
    return tasks


@pytest.mark.parametrize("gpus", (4, 5, 16, 100))
@pytest.mark.parametrize("widths", [(1,), (1, 2, 4)])
@pytest.mark.parametrize("count", (0, 1, 8, 40))
def test_every_schedule_is_possible_and_none_is_below_the_bounds(gpus, widths, count):
    for seed in range(10):
        tasks = study(count, seed, widths)
        slots = list_schedule(tasks, gpus)
        assert sorted(slot.task.name for slot in slots) == sorted(task.name for task in tasks)
        ends = {slot.task.name: slot.end for slot in slots}
        for slot in slots:
            assert slot.end == slot.start + slot.task.seconds
            assert len(set(slot.devices)) == slot.task.gpus
            assert max(slot.devices) < gpus
            assert all(ends[before] <= slot.start for before in slot.task.after)
        for device in range(gpus):
            held = sorted((s.start, s.end) for s in slots if device in s.devices)
            assert all(one[1] <= two[0] for one, two in zip(held, held[1:], strict=False))
        assert makespan(slots) >= lower_bound(tasks, gpus) - 1e-9


@pytest.mark.parametrize("gpus", (1, 2, 4, 16))
def test_it_is_within_grahams_bound_of_the_best(gpus):
    """At most total/N + (1 − 1/N) of the longest path, for tasks of one device."""
    for seed in range(20):
        tasks = study(24, seed)
        longest = max(paths(tasks).values())
        most = busy_seconds(tasks) / gpus + (1 - 1 / gpus) * longest
        assert lower_bound(tasks, gpus) <= makespan(list_schedule(tasks, gpus)) + 1e-9
        assert makespan(list_schedule(tasks, gpus)) <= most + 1e-9


def test_one_device_takes_the_sum_and_enough_devices_the_longest_path():
    tasks = study(12, 3)
    assert makespan(list_schedule(tasks, 1)) == pytest.approx(busy_seconds(tasks))
    assert makespan(list_schedule(tasks, 999)) == pytest.approx(max(paths(tasks).values()))


def test_the_longest_path_starts_first():
    tasks = [
        Task("short", 1), Task("long", 3), Task("first of two", 2),
        Task("second of two", 2, after=("first of two",)),
    ]  # fmt: skip
    slots = list_schedule(tasks, 2)
    assert [slot.task.name for slot in slots][:2] == ["first of two", "long"]
    assert makespan(slots) == 4 == lower_bound(tasks, 2)


def test_the_bounds():
    tasks = [Task("a", 5, gpus=2), Task("b", 1, after=("a",)), Task("c", 3)]
    assert busy_seconds(tasks) == 14
    assert paths(tasks) == {"a": 6, "b": 1, "c": 3}
    assert (lower_bound(tasks, 1), lower_bound(tasks, 4)) == (14, 6)


def test_a_task_that_cannot_run_is_an_error_in_words():
    with pytest.raises(UserError, match="--gpus: wide takes 4 devices at once .* at least 4"):
        list_schedule([Task("wide", 1, gpus=4)], 2)
    with pytest.raises(UserError, match="b waits for a job that is not planned"):
        list_schedule([Task("b", 1, after=("a",))], 2)
