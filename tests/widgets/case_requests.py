"""The arguments of a short call of a foreign pipeline, as a panel asks for them."""

from __future__ import annotations

from typing import Any

from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.widgets.state import Request

COMMON = ("prompt", "negative_prompt", "width", "height", "strength")


def to_request(pipe: ExplorablePipeline, arguments: dict[str, Any]) -> Request:
    """What a panel would ask for to draw the same."""
    signature = pipe.call_signature
    given = {name: value for name, value in arguments.items() if value is not None}
    given.pop("generator", None)
    named = {
        "steps": signature.steps,
        "guidance_scale": signature.guidance,
        "count": signature.count,
    }
    values: dict[str, Any] = {
        field: given.pop(one.name)
        for field, one in named.items()
        if one is not None and one.name in given
    }
    for name in COMMON:
        is_text = name.endswith("prompt")
        if isinstance(given.get(name), str if is_text else (int, float)):
            values[name] = given.pop(name)
    values.setdefault("prompt", "")
    return Request(**values, more=tuple(given.items()))
