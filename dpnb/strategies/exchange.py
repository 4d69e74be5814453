"""Networks that others have written, exchanged for dpnb's own while a strategy needs its slots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from dpnb.strategies.networks import Networks
from dpnb.strategies.strategy import Slot, Strategy
from dpnb.strategies.undo import Undo


@dataclass(frozen=True, repr=False)
class Exchange(Strategy):
    """Let dpnb's own networks stand for components, around the same tensors.

    Nobody asks for it: it comes and goes with the strategies that need it, beneath all others.

    Args:
        components: their names.
    """

    components: tuple[str, ...] = ()
    slot: ClassVar = Slot.NETWORK

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        for owner, name in list(networks.exchangeable((object,))):
            if name in self.components:
                owner.exchange(name, undo)


def exchanges_for(strategies: Iterable[Strategy], networks: Networks) -> list[Strategy]:
    """What has to be on beneath `strategies`, so that each finds the networks that it acts on."""
    kinds = tuple({kind: None for strategy in strategies for kind in strategy.needs})
    names = sorted({name for _, name in networks.exchangeable(kinds)}) if kinds else []
    return [Exchange(tuple(names))] if names else []
