"""What a component carries of the strategies that are on at it, and of its adapters."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any, Protocol, TypeAlias
from weakref import WeakKeyDictionary

from torch import nn
from typing_extensions import override

from dpnb.errors import StrategyError
from dpnb.nn.structure import Structure
from dpnb.nn.weight_changes import Change
from dpnb.strategies.fused import Fused
from dpnb.strategies.fusion_trial import FusionTrial
from dpnb.strategies.runs import ActiveRuns
from dpnb.strategies.strategy import Plan, Strategy
from dpnb.strategies.tile_trial import TileTrial
from dpnb.switchboard import ATTRIBUTE

PlainMethods: TypeAlias = WeakKeyDictionary[nn.Module, dict[str, tuple[Any, Any]]]
"""A network, the name of a method → what it had of its own in its place, and what it has then."""


class AppliedStrategies(Protocol):
    """What is on at some networks, as far as one of them asks."""

    @property
    def applied(self) -> tuple[Strategy, ...]:
        """The strategies whose edits stand, or stand in part."""
        ...

    @property
    def is_in_run(self) -> bool:
        """Whether this thread computes a run with them."""
        ...

    def suspended(self) -> AbstractContextManager[Plan]:
        """Nothing on within; what is given is the plan that comes back."""
        ...

    def structure_of(self, network: nn.Module) -> Structure:
        """What a network is made of when nothing is on, whatever is."""
        ...


class Attachment:
    """Kept on the component itself, so that it lives as long as that.

    A copy of it knows the adapters and what is fused, and nothing else: it is independent.

    Attributes:
        shared: what is on at the network; `None` before anyone has asked.
        stack: of a network that no pipeline had when it was first asked for one: kept alive here.
        counterpart: dpnb's own network of the same shape, where it stands for this component.
        counterpart_of: what the component was when that was built, to tell whether it still is.
        adapters: changes of the network's parameters, by the adapter's name and the parameter's.
        fused: what of them has become part of the plain weights.
        paused: those that the network has switched off by itself, and their factors.
        runs: those that use the component as their scheduler.
        plain_methods: what stands for methods of the network while something is on, once it has.
        fusion_trial: what became of its attention when its projections were joined, once tried.
        tile_trials: what became of pictures in tiles, by the lengths of the tiles that were tried.
    """

    def __init__(
        self,
        adapters: Mapping[str, Mapping[str, Change]] | None = None,
        fused: Fused | None = None,
    ) -> None:
        self.shared: AppliedStrategies | None = None
        self.stack: object | None = None
        self.counterpart: nn.Module | None = None
        self.counterpart_of: object = None
        self.adapters: dict[str, Mapping[str, Change]] = dict(adapters or {})
        self.fused = Fused() if fused is None else fused
        self.paused: dict[str, float | tuple[tuple[str, float], ...]] = {}
        self.runs = ActiveRuns()
        self.fusion_trial: FusionTrial | None = None
        self.plain_methods: PlainMethods = WeakKeyDictionary()
        self.tile_trials: dict[tuple[tuple[str, int], ...], TileTrial] = {}

    @property
    def is_unused(self) -> bool:
        """Whether it says nothing, so that a component without it would be the same."""
        is_shared = self.shared is not None or self.stack is not None
        return not (is_shared or self.adapters or self.fused.changes or self.runs.active)

    @property
    def is_in_run(self) -> bool:
        """Whether this thread computes a run with the component."""
        return self.shared is not None and self.shared.is_in_run

    def suspended(self) -> AbstractContextManager[Plan]:
        """Nothing on at the component within; what is given is the plan that comes back."""
        return nullcontext(frozenset()) if self.shared is None else self.shared.suspended()

    def __deepcopy__(self, memo: dict[int, Any]) -> Attachment:
        self._refuse()
        return Attachment(deepcopy(self.adapters, memo), deepcopy(self.fused, memo))

    @override
    def __reduce__(self) -> tuple[type[Attachment], tuple[Any, ...]]:
        self._refuse()
        return Attachment, (self.adapters, self.fused)

    def _refuse(self) -> None:
        """What is switched on acts through hooks that know the original, so no copy of it works."""
        if self.shared is not None and (applied := self.shared.applied):
            on = ", ".join(sorted(map(repr, applied)))
            raise StrategyError(
                f"A network cannot be copied by itself while {on} is on; copy the whole pipeline, "
                "or copy within `with pipe.strategies.suspended():`."
            )


def attachment_of(component: object) -> Attachment:
    """The attachment of a network or a scheduler, made where there is none."""
    attachment: Attachment = vars(component).setdefault(ATTRIBUTE, Attachment())
    return attachment
