"""Which switch would have made a run fit."""

from __future__ import annotations

from collections.abc import Iterable

from dpnb.pipelines.text_to_image import TextToImagePipeline
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.offload_replay import OffloadReplay, predict_resident
from dpnb.planning.simulated_runs import SimulatedRuns
from dpnb.planning.simulation import Simulation
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.planning.workload import Workload
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.strategy import Plan, Slot, Strategy


def rehearsal(pipe: TextToImagePipeline, workload: Workload) -> Simulation:
    """Runs of `pipe` without weights, of which only the memory is asked for.

    The pipeline is read, and nothing must be drawn with it meanwhile; nothing that is done with
    what is returned concerns it any more.
    """
    valueless_mode = ValuelessTensors()
    profile = _profile(pipe._execution_device.type != "cpu")
    return Simulation(
        build_valueless_pipeline(pipe, valueless_mode, None), valueless_mode, workload, profile
    )


def first_that_fits(
    simulation: Simulation, active: Plan, limit: int, candidates: Iterable[Strategy]
) -> Strategy | None:
    """The first of some strategies with which a run needs no more memory than there is.

    Each is tried beside what is switched on, in place of its like.

    Args:
        simulation: of the run.
        active: what is switched on.
        limit: bytes of tensors on the device.
        candidates: the one that is wanted most first.

    Returns:
        Where none fits, the one that needs the least; `None` without any.
    """
    runs, least = SimulatedRuns(simulation), None
    for strategy in candidates:
        plan = frozenset(s for s in active if s.slot != strategy.slot) | {strategy}
        peak = _peak(runs, plan, simulation.profile)
        if peak <= limit:
            return strategy
        if least is None or peak < least[0]:
            least = peak, strategy
    return None if least is None else least[1]


def _peak(runs: SimulatedRuns, plan: Plan, profile: DeviceProfile) -> int:
    placement = next((s for s in plan if s.slot is Slot.PLACEMENT), None)
    run = runs.simulate(frozenset(s for s in plan if s is not placement))
    if isinstance(placement, (ModelOffload, SequentialOffload)):
        limit = placement.limit(list(run.weights.networks))
        held = OffloadReplay(run.weights, limit, profile).run(run.steps)
    else:
        held = predict_resident(run.steps, run.weights, profile)
    return max(one.peak for one in held)


def _profile(is_asynchronous: bool) -> DeviceProfile:
    """A device of which only the memory is asked for."""
    return DeviceProfile(
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
