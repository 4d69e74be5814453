"""Components that a strategy is told by name: how they are read, and those that are not there."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Set
from typing import Any

from dpnb.strategies.networks import Networks


def parse_components(name: str, value: Any) -> tuple[str, ...]:
    """Names of components: of one, as text, or of several; each of them once.

    Args:
        name: what the message calls them.
        value: as they were given.

    Raises:
        TypeError: these are no names.
    """
    is_several = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
    names = tuple(value) if is_several else (value,)
    if not all(isinstance(one, str) for one in names):
        raise TypeError(
            f'{name} is {reprlib.repr(value)}; give names of components, such as ("unet", "vae").'
        )
    return tuple(dict.fromkeys(sorted(names) if isinstance(value, Set) else names))


def read_components(strategy: Any) -> None:
    """Let the `components` of a new strategy be names, in whatever form they were given.

    Raises:
        TypeError: these are no names.
    """
    names = parse_components("components", strategy.components)
    object.__setattr__(strategy, "components", names)  # strategies are frozen


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
