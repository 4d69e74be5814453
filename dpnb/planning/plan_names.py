"""The names of plans: in full, and in few words."""

from __future__ import annotations

from typing import Any

from dpnb.strategies.strategy import Plan, in_order

SHORT = {
    "AttentionSlicing": "slicing",
    "ChannelsLast": "channels last",
    "ConditioningCache": "cache",
    "FreeU": "FreeU",
    "LayerwiseCasting": "casting",
    "ModelOffload": "model offload",
    "QKVFusion": "fused QKV",
    "SequentialOffload": "streaming",
    "VaeSlicing": "VAE slicing",
    "VaeTiling": "VAE tiling",
    "XFormers": "xFormers",
}

NOTHING = "nothing switched on"
"""The name of a plan without strategies."""


def plan_name(plan: Plan) -> str:
    """The strategies of a plan, in words."""
    names = [repr(strategy).removesuffix("()") for strategy in in_order(plan)]
    return " + ".join(names) or NOTHING


def short_plan_name(plan: Plan) -> str:
    """A plan in few words, for tables and figures: what is on, with what is not the default."""
    parts = []
    for strategy in in_order(plan):
        values = strategy.to_json()
        name = SHORT.get(values.pop("strategy"), type(strategy).__name__)
        values.pop("device", None)
        default = type(strategy)().to_json()
        given = [_value(key, value) for key, value in values.items() if value != default[key]]
        parts.append(f"{name} ({', '.join(given)})" if given else name)
    return " + ".join(parts) or NOTHING


def _value(key: str, value: Any) -> str:
    return key if value is True else str(value)
