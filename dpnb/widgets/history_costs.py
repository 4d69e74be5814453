"""What the runs of a history say of what plans do to the picture."""

from __future__ import annotations

from dpnb.planning.picture_costs import PictureCosts, list_changes
from dpnb.strategies.strategy import Plan
from dpnb.widgets.session import Session
from dpnb.widgets.state import FinishedRun


def find_picture_costs(session: Session) -> PictureCosts:
    """Those of plans whose pictures were compared with a run of exact strategies alone.

    Args:
        session: whose history and verdicts are read.
    """
    state = session.run_state
    runs: dict[int, FinishedRun] = {run.number: run for run in state.history}
    known: list[tuple[Plan, float]] = []
    for (number, baseline), verdict in state.verdicts.items():
        one, other = runs.get(number), runs.get(baseline)
        is_steady = one is not None and one.used == one.plan
        if one is not None and is_steady and other is not None and not list_changes(other.used):
            known.append((one.plan, verdict.size))
    return PictureCosts.of(known)
