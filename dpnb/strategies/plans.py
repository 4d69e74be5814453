"""Plans as people give them, as JSON and as Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dpnb.strategies.catalog import KINDS
from dpnb.strategies.strategy import Plan, Strategy, check, in_order, read_plan
from dpnb.validation import validate


def plan_to_json(plan: Iterable[Strategy]) -> list[dict[str, Any]]:
    """The strategies of a plan in the order in which they are applied, as plain JSON values."""
    return [strategy.to_json() for strategy in in_order(plan)]


def plan_from_json(values: Iterable[Mapping[str, Any]]) -> Plan:
    """The plan that `plan_to_json` has written.

    Raises:
        ValueError: a strategy or one of its fields is unknown, or of another type.
        StrategyError: the strategies contradict each other.
    """
    entries = validate(tuple[Mapping[str, Any], ...], values, "plan")
    plan = frozenset(_strategy(entry) for entry in entries)
    check(plan)
    return plan


def parse_plans(given: Any) -> list[Plan] | None:
    """The plans in a list of them, or in the rows of a table; of one strategy, that plan.

    It is `None` for `"all"`.

    Raises:
        TypeError: these are no plans.
        StrategyError: one contradicts itself.
    """
    if isinstance(given, str) and given == "all":
        return None
    if isinstance(given, Strategy):
        return [read_plan(given)]
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(
            f'plans is {given!r}; give "all", or a list of plans, each a strategy or several, such '
            "as [VaeTiling(), [VaeTiling(), ModelOffload()]]."
        )
    entries: Iterable[Any] = given
    return [read_plan(getattr(entry, "plan", entry)) for entry in entries]


def plan_to_python(
    plan: Iterable[Strategy], pipeline: str = "pipe", *, is_attached: bool = False
) -> str:
    """Python that switches exactly this plan on.

    Args:
        plan: the strategies.
        pipeline: the name of the variable that holds the pipeline.
        is_attached: whether the pipeline was not written here, and is attached first.
    """
    ordered = in_order(plan)
    owner = "studio" if is_attached else pipeline
    names = ", ".join(sorted({type(strategy).__name__ for strategy in ordered}))
    imports = ["import dpnb"] * is_attached + [f"from dpnb import {names}"] * bool(ordered)
    begin = [f"studio = dpnb.attach({pipeline})"] * is_attached
    lines = [f"    {strategy!r}," for strategy in ordered]
    listed = "\n".join(["[", *lines, "]"]) if lines else "[]"
    blank = [""] if imports else []
    return "\n".join([*imports, *blank, *begin, f"{owner}.strategies.use({listed})"])


def _strategy(entry: Mapping[str, Any]) -> Strategy:
    name = entry.get("strategy")
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(f"{name!r} is no strategy; there are {', '.join(KINDS)}.")
    return KINDS[name].from_json(entry)
