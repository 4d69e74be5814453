"""Calls of a network that hold everything twice, answered from their second half."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from dpnb.strategies.offload.calls import Method, replace_forward
from dpnb.strategies.undo import Undo

ShouldHalve: TypeAlias = Callable[[int], bool]
"""The entries of a call → whether the first half of them is of no use."""

SHOWN = ("hidden_states", "sample")
"""What networks call the latents that they are shown."""

FRAMES = 2
"""The axis of frames, of latents `[batch, channels, frames, h, w]`."""


def halve_calls(network: nn.Module, should_halve: ShouldHalve, undo: Undo) -> None:
    """Let `network` compute the second half of a call alone, and answer with that twice.

    Args:
        network: whose calls hold everything twice.
        should_halve: is asked in every call.
        undo: takes the inverse.
    """

    def wrap(method: Method) -> Method:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            shown = _shown(args, kwargs)
            if shown is None or not should_halve(len(shown)):
                return method(*args, **kwargs)
            return double(method(*halve(args, shown), **halve(kwargs, shown)))

        return call

    replace_forward(network, wrap, undo)


def _shown(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """The latents of a call; `None` where they are no tensor."""
    first = args[0] if args else next((kwargs[name] for name in SHOWN if name in kwargs), None)
    return first if isinstance(first, Tensor) else None


def halve(given: Any, shown: Tensor) -> Any:
    """The second half of everything in `given` that has an entry for each of the latents.

    Args:
        given: tensors, and what holds them, of whatever kind.
        shown: the latents; of films, something may also have an entry for every frame.
    """
    entries = len(shown)
    counts = {entries, entries * shown.shape[FRAMES]} if shown.ndim == 5 else {entries}

    def halve_one(value: Any) -> Any:
        is_doubled = isinstance(value, Tensor) and value.ndim > 0 and len(value) in counts
        return value[len(value) // 2 :] if is_doubled else value

    return tree_map(halve_one, given)


def double(answer: Any) -> Any:
    """Every tensor of what a network returns, twice."""
    if isinstance(answer, dict):  # of a class of its own, whose fields are entries too
        return type(answer)(**{name: double(value) for name, value in answer.items()})
    return tree_map(lambda x: torch.cat((x, x)) if isinstance(x, Tensor) else x, answer)
