"""Which of a block's arguments come back, transformed, as which of its outputs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

FLOWS = ("hidden_states", "encoder_hidden_states", "tokens", "context", "x")
"""What blocks call the arguments that they transform."""


@dataclass(frozen=True)
class Ties:
    """The arguments that come back as outputs.

    Attributes:
        names: of the argument that each output is of; `None` for an output that is no tensor.
        is_alone: whether a block returns one tensor, and no tuple of them.
    """

    names: tuple[str | None, ...]
    is_alone: bool

    @property
    def flows(self) -> tuple[str, ...]:
        """The arguments that come back."""
        return tuple(name for name in self.names if name is not None)

    def take(self, output: Any) -> dict[str, Tensor]:
        """The outputs of a block by the arguments that they are of."""
        outputs = (output,) if self.is_alone else output
        pairs = zip(self.names, outputs, strict=True)
        return {name: one for name, one in pairs if name is not None and one is not None}

    def give(self, flows: Mapping[str, Tensor]) -> Any:
        """What a block returns whose outputs are these."""
        outputs = tuple(None if name is None else flows.get(name) for name in self.names)
        return outputs[0] if self.is_alone else outputs


class BlockArguments:
    """How the arguments of a class of blocks are called.

    Args:
        kind: the class.
    """

    def __init__(self, kind: type[nn.Module]) -> None:
        signature = inspect.signature(kind.forward)
        self._names = tuple(signature.parameters)[1:]

    @property
    def has_flows(self) -> bool:
        """Whether there is one that blocks transform."""
        return any(name in FLOWS for name in self._names)

    def flows_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Those that a block may transform, in the order of its signature."""
        given = {**dict(zip(self._names, args, strict=False)), **kwargs}
        return {
            name: given[name]
            for name in self._names
            if name in FLOWS and isinstance(given.get(name), Tensor)
        }


def ties_by_size(given: Mapping[str, Tensor], output: Any) -> Ties | None:
    """Which output is of which argument, as far as their sizes say; `None` where they do not.

    A block that returns one tensor transforms the first argument of its size.
    """
    if isinstance(output, Tensor):
        named = next(_of_size(given, output), None)
        return None if named is None else Ties((named,), is_alone=True)
    if not isinstance(output, tuple):
        return None
    found = [[None] if one is None else list(_of_size(given, one)) for one in output]
    if any(len(names) != 1 for names in found):
        return None
    names = tuple(name for [name] in found)
    return Ties(names, is_alone=False) if _are_different(names) else None


def ties_by_use(following: Mapping[str, Tensor], output: Any) -> Ties | None:
    """Which output is of which argument, as the following block of the same class is given them.

    `None` where it is given others: something happens between the two.
    """
    is_alone = isinstance(output, Tensor)
    outputs = (output,) if is_alone else output
    if not isinstance(outputs, tuple):
        return None
    names: list[str | None] = []
    for one in outputs:
        name = next((name for name, value in following.items() if value is one), None)
        if one is not None and name is None:
            return None
        names.append(name)
    return Ties(tuple(names), is_alone) if any(names) and _are_different(names) else None


def _of_size(given: Mapping[str, Tensor], output: Any) -> Iterator[str]:
    if isinstance(output, Tensor):
        for name, value in given.items():
            if value.shape == output.shape and value.dtype == output.dtype:
                yield name


def _are_different(names: tuple[str | None, ...] | list[str | None]) -> bool:
    named = [name for name in names if name is not None]
    return bool(named) and len(set(named)) == len(named)
