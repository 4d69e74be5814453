"""Plans that have a name, for those who want one end and not the means.

Those that are chosen from what is predicted, such as the fastest, are `NAMED_PLANS` of planning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dpnb.strategies.catalog import KINDS
from dpnb.strategies.settings import strategy_label
from dpnb.strategies.stack import StrategyStack
from dpnb.strategies.strategy import Plan


@dataclass(frozen=True)
class PresetPlan:
    """What of a preset can be switched on.

    Args:
        plan: the strategies.
        left_out: the label of every other one → why it cannot be switched on, in a sentence.
    """

    plan: Plan
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class Preset:
    """A plan with a name.

    Args:
        name: what people call it.
        summary: what it is for.
        entries: its strategies, as `plan_to_json` writes them.
    """

    name: str
    summary: str
    entries: tuple[Mapping[str, Any], ...]

    def plan(self, stack: StrategyStack) -> PresetPlan:
        """What of it can be switched on here."""
        plan, left_out = set(), {}
        for entry in self.entries:
            kind = KINDS[entry["strategy"]]
            strategy = kind.from_json(entry)
            reason = None if strategy in stack.active else stack.obstacle(strategy)
            if reason is None:
                plan.add(strategy)
            else:
                left_out[strategy_label(kind)] = reason
        return PresetPlan(frozenset(plan), left_out)


def _entry(name: str, **fields: Any) -> Mapping[str, Any]:
    return {"strategy": name, **fields}


PRESETS: tuple[Preset, ...] = (
    Preset("Nothing", "Everything off: the plain pipeline.", ()),
    Preset(
        "High resolution",
        "Room for large pictures: decoding in parts, attention in two steps, one network at a "
        "time on the device.",
        (
            _entry("ModelOffload"),
            _entry("AttentionSlicing", slice_size="auto"),
            _entry("VaeTiling"),
        ),
    ),
)
