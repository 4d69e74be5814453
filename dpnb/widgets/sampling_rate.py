"""How many samples a second has in what a pipeline's networks make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAMES = ("sampling_rate", "sample_rate")


def find_sampling_rate(parts: Mapping[str, Any]) -> int | None:
    """The rate that the settings of a component name; `None` where none does.

    Args:
        parts: the components of a pipeline by name.
    """
    for part in parts.values():
        for settings in _settings(part):
            for name in NAMES:
                rate = settings.get(name)
                if isinstance(rate, int) and not isinstance(rate, bool):
                    return rate
    return None


def _settings(part: Any) -> list[Mapping[str, Any]]:
    """The settings of a component, of diffusers or of transformers."""
    known = getattr(part, "__dict__", {})
    config = known.get("config")
    held = known.get("_internal_dict"), config and vars(config)
    return [one for one in held if isinstance(one, Mapping)]
