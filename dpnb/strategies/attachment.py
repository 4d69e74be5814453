"""The thread from a component to what is switched on at it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from dpnb.nn.structure import ATTACHMENT
from dpnb.nn.weight_changes import Change
from dpnb.strategies.fused import Fused
from dpnb.strategies.strategy import StrategyError
from dpnb.strategies.turns import Runs

if TYPE_CHECKING:
    from dpnb.strategies.networks import Lone
    from dpnb.strategies.shared import Shared
    from dpnb.strategies.stack import StrategyStack


class Attachment:
    """Kept on the component itself, so that it lives as long as that.

    A copy of it knows the adapters and what is fused, and nothing else: it is independent.

    Attributes:
        shared: the state of all pipelines that use the network; `None` before the first.
        lone: the network itself as a member, where no pipeline had it when it was first asked.
        stack: the strategies of that member.
        adapters: changes of the network's parameters, by the adapter's name and the parameter's.
        fused: what of them has become part of the plain weights.
        runs: those that a scheduler leads.
    """

    def __init__(
        self,
        adapters: Mapping[str, Mapping[str, Change]] | None = None,
        fused: Fused | None = None,
    ) -> None:
        self.shared: Shared | None = None
        self.lone: Lone | None = None
        self.stack: StrategyStack | None = None
        self.adapters: dict[str, Mapping[str, Change]] = dict(adapters or {})
        self.fused = Fused() if fused is None else fused
        self.runs = Runs()

    def __deepcopy__(self, memo: dict[int, Any]) -> Attachment:
        self._refuse()
        return Attachment(deepcopy(self.adapters, memo), deepcopy(self.fused, memo))

    @override
    def __reduce__(self) -> tuple[type[Attachment], tuple[Any, ...]]:
        self._refuse()
        return Attachment, (self.adapters, self.fused)

    def _refuse(self) -> None:
        """What is switched on acts through hooks that know the original, so no copy of it works."""
        if self.shared is not None and self.shared.applied:
            on = ", ".join(sorted(repr(applied.strategy) for applied in self.shared.applied))
            raise StrategyError(
                f"A network cannot be copied by itself while {on} is on; copy the whole pipeline, "
                "or copy within `with pipe.strategies.suspended():`."
            )


def attachment_of(component: object) -> Attachment:
    """The attachment of a network or a scheduler, made where there is none."""
    attachment: Attachment = vars(component).setdefault(ATTACHMENT, Attachment())
    return attachment


def without_attachment(component: object) -> dict[str, Any]:
    """The attributes of a component but for its attachment."""
    return {name: value for name, value in vars(component).items() if name != ATTACHMENT}
