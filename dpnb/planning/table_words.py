"""Sentences about tables of plans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dpnb.planning.plan_row import PlanRow
from dpnb.units import format_bytes

UNKNOWN_PICTURES = (
    "What some plans do to the picture is unknown: dpnb.sweep(…, quality=True) measures it, and "
    "dpnb.plan(…, measured=…) takes its report."
)


def explain_refusal(
    rows: Sequence[PlanRow], least: PlanRow | None, budget: int, drawn: str, picture: str | None
) -> str:
    """Why no plan does what is asked for, and what would.

    Args:
        rows: all plans.
        least: the one that needs least of those whose pictures are as they may be, if any are.
        budget: bytes that the device may hold.
        drawn: what is drawn, in words.
        picture: how much plans may do to the picture; `None` for whatever they do.
    """
    if not rows:
        return "There are no plans in this table; ask for some with dpnb.plan."
    if least is None:
        return (
            f"No plan here is known to keep the picture within {picture}; let plans do more to it, "
            "or measure what they do with dpnb.sweep(…, quality=True)."
        )
    kept = "" if picture is None else f" and a picture within {picture}"
    is_barred = any(row.needed <= budget for row in rows)
    other = " let plans do more to the picture," if is_barred else ""
    return (
        f"Nothing here draws {drawn} with {format_bytes(budget)}{kept}; the least that works is "
        f"{format_bytes(least.needed)}, with {least.name}. Give that much,{other} or draw smaller "
        "or fewer pictures at once."
    )


def explain_hidden(are_kept: Sequence[bool], remedy: str) -> Iterator[str]:
    """What is said of plans that are not shown.

    Args:
        are_kept: for each of them whether it keeps the picture as it may be.
        remedy: what shows them.
    """
    for count, why in (
        (sum(are_kept), "no better than these in memory or time"),
        (len(are_kept) - sum(are_kept), "not known to keep the picture as it may be"),
    ):
        plans = f"{count} further plan{'s are' if count > 1 else ' is'}"
        if count:
            yield f"{plans} {why}; {remedy} shows all."
