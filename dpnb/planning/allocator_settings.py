"""The settings of torch's CUDA caching allocator, as the environment states them.

Names and meanings are those of torch's notes on CUDA semantics, "Optimizing memory usage with
PYTORCH_CUDA_ALLOC_CONF". What has no influence on how much memory is taken is ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

MIB = 1 << 20

VARIABLES = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""Of the environment; the first that is set counts, as in torch."""

LARGEST_SEGMENT = 20 * MIB
"""A limit of splitting is more than this."""

ENTRY = re.compile(r"\s*(\w+)\s*:\s*(\[[^\]]*\]|[^,\[\]]+?)\s*(?:,|$)")


@dataclass(frozen=True)
class AllocatorSettings:
    """How the allocator rounds, splits and gives back.

    Args:
        max_split_size: bytes from which a block is never split; `None` for no limit.
        power_divisions: pairs of a size in bytes and into how many steps each power of two below
            it is divided; `None` as size is for all others. Empty rounds to 512 bytes alone.
        expandable_segments: whether segments grow by pages.
        garbage_threshold: the share of the allowed memory from which unused segments are given
            back; 0 for never. Torch heeds it only together with `memory_fraction`.
        memory_fraction: the share of the card that this process may take.
    """

    max_split_size: int | None = None
    power_divisions: tuple[tuple[int | None, int], ...] = ()
    expandable_segments: bool = False
    garbage_threshold: float = 0.0
    memory_fraction: float | None = None

    def divisions_of(self, nbytes: int) -> int:
        """Into how many steps the power of two around a size is divided; 0 for none."""
        for bound, divisions in self.power_divisions:
            if bound is None or nbytes < bound:
                return divisions
        return 0

    @classmethod
    def parse(cls, text: str) -> AllocatorSettings:
        """Settings such as `"expandable_segments:True,max_split_size_mb:128"`.

        Args:
            text: keys and values; keys that are not known are ignored, as those of later versions.

        Raises:
            ValueError: this is no such text, or a value is out of its bounds.
        """
        given = _split(text)
        settings = cls()
        for key, value in given.items():
            change = _CHANGES.get(key)
            if change is not None:
                settings = replace(settings, **change(key, value))
        return settings

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] | None = None) -> AllocatorSettings:
        """What this process's allocator is told.

        Args:
            environment: its variables; those of this process by default.

        Raises:
            ValueError: as for `parse`.
        """
        variables = os.environ if environment is None else environment
        text = next((variables[name] for name in VARIABLES if variables.get(name)), "")
        return cls.parse(text)


def _split(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while text[at:].strip():
        entry = ENTRY.match(text, at)
        if entry is None:
            raise ValueError(
                f"{text!r} is no setting of torch's allocator; write keys and values such as "
                '"expandable_segments:True,max_split_size_mb:128".'
            )
        found[entry[1]] = entry[2]
        at = entry.end()
    return found


def _max_split_size(key: str, value: str) -> dict[str, Any]:
    nbytes = _whole(key, value) * MIB
    if nbytes <= LARGEST_SEGMENT:
        raise ValueError(f"{key} is {value}; it must be more than 20.")
    return {"max_split_size": nbytes}


def _power_divisions(key: str, value: str) -> dict[str, Any]:
    if not value.startswith("["):
        return {"power_divisions": ((None, _power_of_two(key, value)),)}
    pairs = []
    for pair in filter(None, (each.strip() for each in value[1:-1].split(","))):
        bound, _, divisions = pair.partition(":")
        size = None if bound.strip() == ">" else _power_of_two(key, bound) * MIB
        pairs.append((size, _power_of_two(key, divisions)))
    return {"power_divisions": tuple(pairs)}


def _garbage_threshold(key: str, value: str) -> dict[str, Any]:
    return {"garbage_threshold": _share(key, value)}


def _memory_fraction(key: str, value: str) -> dict[str, Any]:
    return {"memory_fraction": _share(key, value)}


def _expandable_segments(key: str, value: str) -> dict[str, Any]:
    if value not in ("True", "False"):
        raise ValueError(f"{key} is {value}; it must be True or False.")
    return {"expandable_segments": value == "True"}


_CHANGES = {
    "max_split_size_mb": _max_split_size,
    "roundup_power2_divisions": _power_divisions,
    "garbage_collection_threshold": _garbage_threshold,
    "expandable_segments": _expandable_segments,
    "per_process_memory_fraction": _memory_fraction,
}


def _whole(key: str, value: str) -> int:
    if not value.strip().isdecimal():
        raise ValueError(f"{key} is {value}; it must be a whole number.")
    return int(value)


def _power_of_two(key: str, value: str) -> int:
    number = _whole(key, value)
    if number & (number - 1) or number == 0:
        raise ValueError(f"{key} has {value.strip()}; it must be a power of two.")
    return number


def _share(key: str, value: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise ValueError(f"{key} is {value}; it must be more than 0 and at most 1.")
    return share
