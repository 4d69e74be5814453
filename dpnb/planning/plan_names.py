"""The names of plans: in full, and in few words."""

from __future__ import annotations

from typing import Any

from dpnb.strategies.strategy import Plan, in_order
from dpnb.units import format_bytes, parse_bytes

SHORT = {
    "AttentionKernel": "kernel",
    "AttentionSlicing": "slicing",
    "ChannelsLast": "channels last",
    "Compile": "compiled",
    "ConditioningCache": "cache",
    "DeviceMap": "device map",
    "FreeU": "FreeU",
    "GuidanceInterval": "guidance interval",
    "LayerwiseCasting": "casting",
    "ModelOffload": "model offload",
    "PerturbedAttention": "PAG",
    "Precision": "precision",
    "QKVFusion": "fused QKV",
    "Quantization": "quantization",
    "SequentialOffload": "streaming",
    "StepCache": "step cache",
    "TinyDecoder": "tiny decoder",
    "TokenMerging": "token merging",
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
        if values.get("budget") is not None:
            values["budget"] = _size(values["budget"])
        # What comes first is what a strategy is about; components say themselves what they are.
        plain = {next(iter(values), ""), "components"}
        given = [
            _value(key, value, is_named=key not in plain)
            for key, value in values.items()
            if value != default[key]
        ]
        parts.append(f"{name} ({', '.join(given)})" if given else name)
    return " + ".join(parts) or NOTHING


def _value(key: str, value: Any, *, is_named: bool) -> str:
    """What is set, in few words."""
    if isinstance(value, bool):
        return key if value else f"no {key}"
    is_list = isinstance(value, list) and all(isinstance(one, str) for one in value)
    words = ", ".join(value) if is_list else str(value)
    return f"{key}={words}" if is_named else words


def _size(budget: int | str) -> str:
    """A budget as people write it: `"2.8 GiB"`, `"512 MiB"`."""
    count = parse_bytes(budget)
    if count < 1 << 20:
        return format_bytes(count)
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"
