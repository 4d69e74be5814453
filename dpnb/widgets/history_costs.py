"""What the runs of a history say of what plans do to the picture."""

from __future__ import annotations

from dpnb.planning.picture_costs import PictureCosts, list_changes
from dpnb.strategies.strategy import Plan
from dpnb.widgets.run_comparison import list_other_conditions
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
        if one is None or other is None or one.used != one.plan or list_changes(other.used):
            continue
        if not list_other_conditions(one, other):
            known.append((one.plan, verdict.size))
    return PictureCosts.of(known)
