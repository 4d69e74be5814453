"""Copies of a network, in this process or for another."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from torch import nn
from typing_extensions import Self, override

from dpnb.models.switches import as_stored


class Copying(nn.Module):
    """What makes a network copyable: a copy has plain weights of its own, and nothing is on."""

    def __copy__(self) -> Self:
        """Another network with the same layers; while something is on, with copies of them."""
        from dpnb.strategies.attachment import without_attachment

        with as_stored(self) as plan:
            if plan:
                return deepcopy(self)
            copied = type(self).__new__(type(self))
            vars(copied).update(without_attachment(self))
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Another network with copies of the layers."""
        copied = memo[id(self)] = type(self).__new__(type(self))
        with as_stored(self):
            vars(copied).update(deepcopy(vars(self), memo))
        return copied

    @override
    def __getstate__(self) -> dict[str, Any]:
        """What is pickled."""
        with as_stored(self) as plan:
            # What is switched on comes back before pickle has come to the weights.
            return vars(deepcopy(self)) if plan else vars(self)
