"""Copies of a network, in this process or for another."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any

from torch import nn
from typing_extensions import Self, override

from dpnb.switchboard import ATTRIBUTE, Attachable


class Copying(nn.Module, Attachable):
    """What makes a network copyable: a copy has plain weights of its own, and nothing is on."""

    def suspended(self) -> AbstractContextManager[frozenset[Any]]:
        """Within it nothing is switched on here, and the weights are as a file holds them.

        What is given is the plan that comes back.
        """
        attachment = self.dpnb_attachment
        return nullcontext(frozenset()) if attachment is None else attachment.suspended()

    def __copy__(self) -> Self:
        """Another network with the same layers; while something is on, with copies of them."""
        with self.suspended() as plan:
            if plan:
                return deepcopy(self)
            copied = type(self).__new__(type(self))
            vars(copied).update({k: v for k, v in vars(self).items() if k != ATTRIBUTE})
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Another network with copies of the layers."""
        copied = memo[id(self)] = type(self).__new__(type(self))
        with self.suspended():
            vars(copied).update(deepcopy(vars(self), memo))
        return copied

    @override
    def __getstate__(self) -> dict[str, Any]:
        """What is pickled."""
        with self.suspended() as plan:
            # What is switched on comes back before pickle has come to the weights.
            return vars(deepcopy(self)) if plan else vars(self)
