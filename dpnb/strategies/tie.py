"""The thread from a network to what is switched on at it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from dpnb.nn.lowrank import Change
from dpnb.strategies.fused import Fused

if TYPE_CHECKING:
    from dpnb.strategies.host import Lone
    from dpnb.strategies.shared import Shared
    from dpnb.strategies.stack import StrategyStack

_NAME = "_dpnb_tie"


class Tie:
    """Kept on the network itself, so that it lives as long as that; a copy of it holds nothing.

    Attributes:
        shared: the state of all pipelines that use the network; `None` before the first.
        lone: the network itself as a member, where no pipeline had it when it was first asked.
        stack: the strategies of that member.
        adapters: changes of the network's parameters, by the adapter's name and the parameter's.
        fused: what of them has become part of the plain weights.
    """

    def __init__(self) -> None:
        self.shared: Shared | None = None
        self.lone: Lone | None = None
        self.stack: StrategyStack | None = None
        self.adapters: dict[str, Mapping[str, Change]] = {}
        self.fused = Fused()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tie:
        return Tie()

    def __reduce__(self) -> tuple[type[Tie], tuple[()]]:
        return Tie, ()


def tie_of(network: nn.Module) -> Tie:
    """The tie of `network`, made where there is none."""
    tie: Tie = vars(network).setdefault(_NAME, Tie())
    return tie
