"""Runs whose steps are not alike are predicted as they are."""

from __future__ import annotations

from typing import Any

import pytest

import dpnb
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.planner import plan
from dpnb.planning.run_course import RunCourse
from dpnb.planning.simulation import Simulation
from dpnb.planning.table import PlanTable
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.planning.workload import Workload
from dpnb.strategies.step_cache import StepCache
from tests.planning.test_step_prediction import LINK, errors, load

CPU = DeviceProfile("a CPU", 1 << 34, 2e10, 1e11, 1e11, None, 1e-5, False, "made up for tests")

STREAMED = dpnb.SequentialOffload(device=LINK)


@pytest.mark.parametrize(
    ("name", "workload", "plans"),
    [
        (
            "tiny-sd",
            Workload(height=32, width=16, steps=6),
            [
                {StepCache(3, first=2, last=0), dpnb.ModelOffload(LINK)},
                {StepCache(2), dpnb.GuidanceInterval(0.3, 0.7)},
            ],
        ),
        (
            "tiny-flux",
            Workload(height=32, width=32, steps=5),
            [{StepCache(threshold=1e9)}, {StepCache(), STREAMED}],
        ),
    ],
)
def test_the_peak_is_predicted_to_the_byte(name: str, workload: Workload, plans: Any) -> None:
    pipe = load(name, "float32")
    table = plan(pipe, workload=workload, device=LINK, plans=map(frozenset, plans))
    assert len(table) == len(plans)
    assert set(errors(pipe, table).values()) == {0}


@pytest.mark.parametrize("cache", [StepCache(), StepCache(3, 2, first=2)])
def test_bytes_that_are_moved_are_those_that_are_counted(cache: StepCache) -> None:
    pipe = load("dpnb/emoji-64", "float32")
    workload = Workload(steps=8)
    [row] = plan(pipe, workload=workload, device=LINK, plans=[frozenset({STREAMED, cache})])
    with pipe.strategies.using(*row.plan):
        link = pipe.strategies.networks.link
        before = link.moved
        pipe(**workload.arguments())
        assert row.moved == link.moved - before


def predict(pipe: Any, steps: int, *plans: Any) -> list[float]:
    """How much of a run's time is left with each strategy, or with several, as is predicted."""
    sets = [frozenset(one if isinstance(one, set) else {one}) for one in plans]
    table = plan(pipe, workload=Workload(steps=steps), device=CPU, plans=[frozenset(), *sets])
    return [table.of(*one).seconds / table.of().seconds for one in sets]


def test_time_goes_with_the_steps_that_are_computed() -> None:
    pipe = load("dpnb/emoji-64", "float32")
    none, *shares = predict(pipe, 20, *(StepCache(interval) for interval in (1, 2, 3, 5)))
    assert none == pytest.approx(1, rel=1e-3)
    assert shares == sorted(shares, reverse=True)
    assert 0.5 < shares[0] < 0.8
    assert predict(pipe, 100, StepCache())[0] < shares[0]


def test_what_is_told_of_a_plan_is_what_all_of_its_steps_take() -> None:
    pipe, cache = load("dpnb/emoji-64", "float32"), StepCache(2)
    never, half = dpnb.GuidanceInterval(0.99, 1.0), dpnb.GuidanceInterval(0.5, 1.0)
    whole, without, part, both = predict(pipe, 20, cache, never, half, {cache, half})
    assert part == pytest.approx((1 + without) / 2, rel=0.02)
    assert part * whole < both < min(part, whole)


def test_the_steps_of_a_long_run_count_as_often_as_there_are_such() -> None:
    pipe = load("dpnb/emoji-64", "float32")
    early, late = dpnb.GuidanceInterval(0.0, 0.1), dpnb.GuidanceInterval(0.45, 0.55)
    half, share, other = predict(pipe, 80, dpnb.GuidanceInterval(0.999, 1.0), early, late)
    assert share == pytest.approx(other) == pytest.approx(half + 0.1 * (1 - half), rel=1e-3)


def test_where_the_picture_decides_the_longest_time_is_told() -> None:
    pipe = load("tiny-flux", "bfloat16")
    workload = Workload(height=32, width=32, steps=5)
    table = plan(pipe, workload=workload, device=CPU, plans=[frozenset({StepCache()})])
    [row] = table
    assert row.is_slowest
    assert any(cell.startswith("at most ") for cell in table.cells(row))
    assert PlanTable.from_json(table.to_json()) == table


@pytest.mark.parametrize(
    ("cache", "least"),
    [
        (StepCache(), 2),
        (StepCache(first=4), 5),
        (StepCache(first=11, last=0), 12),
        (StepCache(interval=1), 0),
    ],
)
def test_all_kinds_of_steps_are_simulated(cache: StepCache, least: int) -> None:
    pipe, mode = load("tiny-sd", "float32"), ValuelessTensors()
    simulation = Simulation(build_valueless_pipeline(pipe, mode), mode, Workload(steps=12), CPU)
    course = RunCourse(frozenset({cache}), simulation)
    assert course.is_uneven == (cache.interval > 1)
    assert course.least_steps == least
