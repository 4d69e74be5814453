"""After memory has run out: the cheapest switch with which the same run would have fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dpnb.metering.trace import Trace
from dpnb.planning.remedy import first_that_fits, rehearsal
from dpnb.planning.workload import Workload
from dpnb.strategies.out_of_memory import find_memory_savers
from dpnb.strategies.strategy import Slot, Strategy
from dpnb.widgets.state import Request

if TYPE_CHECKING:
    from dpnb.widgets.session import Session


def fitting(session: Session, request: Request, trace: Trace) -> Strategy | None:
    """The cheapest strategy with which the run that `trace` shows is predicted to fit.

    Args:
        session: of the pipeline; nothing is drawn.
        request: what was drawn.
        trace: of the run that has failed.

    Returns:
        Where none alone would do, the one that needs the least. `None` where nobody knows how much
        memory there is, or where predicting would bring weights back that are placed elsewhere.
    """
    stack = session.pipe.strategies
    limit = _available(trace)
    if limit is None or any(strategy.slot is Slot.PLACEMENT for strategy in stack.active):
        return None
    workload = Workload(
        height=request.height,
        width=request.width,
        batch=request.count,
        steps=request.steps,
        guidance_scale=request.guidance_scale,
    )
    if session.is_drawing:
        return None
    simulation = rehearsal(session.pipe, workload)
    helpful = tuple(find_memory_savers(stack, trace.steps[-1].stage, request.count))
    return first_that_fits(simulation, stack.active, limit, helpful)


def _available(trace: Trace) -> int | None:
    """Bytes that this process could have had, as the run's last reading says."""
    if not trace.steps:
        return None
    reading = trace.steps[-1].reading
    return None if reading.limit is None else reading.limit - (reading.others or 0)
