"""After memory has run out: which memory saver would have been enough."""

from __future__ import annotations

from collections.abc import Iterable

from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.planner import Planner
from dpnb.planning.simulation import Simulation
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.planning.workload import Workload
from dpnb.strategies.strategy import Slot, Strategy


def choose_memory_saver(
    pipe: ExplorablePipeline, workload: Workload, limit: int, candidates: Iterable[Strategy]
) -> Strategy | None:
    """The first of some strategies with which a run is predicted to fit.

    Each is tried beside what is switched on, in place of its like. The pipeline is read, and
    nothing must be drawn with it meanwhile.

    Args:
        pipe: what has run.
        workload: what it drew.
        limit: bytes of tensors on the device.
        candidates: the one that is wanted most first.

    Returns:
        Where none fits, the one that needs the least. `None` without any, and where predicting
        would bring weights back that are placed elsewhere.
    """
    active = pipe.strategies.active
    if any(strategy.slot is Slot.PLACEMENT for strategy in active):
        return None
    simulation = _simulation(pipe, workload)
    savers = {
        frozenset(s for s in active if s.slot != saver.slot) | {saver}: saver
        for saver in candidates
    }
    rows = []
    for row in Planner(simulation, limit, approximate=False).rows_of(savers):
        if row.peak <= limit:
            return savers[row.plan]
        rows.append(row)
    return savers[min(rows, key=lambda row: row.peak).plan] if rows else None


def _simulation(pipe: ExplorablePipeline, workload: Workload) -> Simulation:
    """Runs of `pipe` without weights, on a device of which only the memory is asked for."""
    valueless_mode = ValuelessTensors()
    is_asynchronous = pipe.execution_device.type != "cpu"
    profile = DeviceProfile(
        name="the device at hand",
        memory=0,
        bandwidth=1.0,
        float32=1.0,
        float16=1.0,
        link=1.0 if is_asynchronous else None,
        call=0.0,
        is_asynchronous=is_asynchronous,
        source="its memory alone is asked for",
    )
    return Simulation(
        build_valueless_pipeline(pipe, valueless_mode), valueless_mode, workload, profile
    )
