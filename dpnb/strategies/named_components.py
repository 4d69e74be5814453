"""Components that a strategy is told by name: how they are read, and those that are not there."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

from dpnb.strategies.networks import Networks
from dpnb.validation import parse_names


def parse_components(name: str, value: Any) -> tuple[str, ...]:
    """Names of components, each once; see `parse_names`.

    Args:
        name: what the message calls them.
        value: as they were given.
    """
    names = parse_names(name, value, 'names of components, such as ("unet", "vae")')
    return tuple(dict.fromkeys(names))


def read_components(strategy: Any) -> None:
    """Let the `components` of a new strategy be names, in whatever form they were given.

    Raises:
        TypeError: these are no names.
    """
    names = parse_components("components", strategy.components)
    object.__setattr__(strategy, "components", names)  # strategies are frozen


def parse_pairs(name: str, value: Any, wanted: str) -> tuple[tuple[str, str], ...]:
    """Pairs of texts, also those of a mapping.

    Args:
        name: what the message calls them.
        value: as they were given.
        wanted: what they must be, for messages.

    Raises:
        TypeError: these are no pairs of texts.
        ValueError: two of them begin alike.
    """
    pairs = value.items() if isinstance(value, Mapping) else value
    own = tuple(pairs) if isinstance(pairs, Iterable) and not isinstance(pairs, str) else (pairs,)
    if not all(map(_is_pair, own)):
        raise TypeError(f"{name} is {reprlib.repr(value)}; give {wanted}.")
    keys = [key for key, _ in own]
    if repeated := next((key for key in keys if keys.count(key) > 1), None):
        raise ValueError(f"{name} names {repeated} twice; name it once.")
    return tuple((key, given) for key, given in own)


def _is_pair(item: Any) -> bool:
    is_pair = isinstance(item, (tuple, list)) and len(item) == 2
    return is_pair and all(isinstance(one, str) for one in item)


def absent_components_obstacle(what: str, names: Iterable[str], networks: Networks) -> str | None:
    """Why components cannot be acted on that are not there, as a sentence; else `None`.

    Args:
        what: who names them, and how: `"Precision names"`.
        names: the components.
        networks: those at hand.
    """
    absent = [name for name in names if next(networks.items(name), None) is None]
    if not absent:
        return None
    known = ", ".join(sorted(name for name, _ in networks.items()))
    there = f"there are {known}" if known else "there is none here"
    return f"{what} {', '.join(absent)}, and {there}."
