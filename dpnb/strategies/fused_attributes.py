"""What joined projections change about a layer of attention, and calls that are not theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import nn

Ways: TypeAlias = frozenset[bool]
"""How a layer of attention can be called: without another sequence, and with one."""

STATES = "encoder_hidden_states"
"""What layers of attention call the other sequence; by place, it is the second argument."""


class FusedAttributes:
    """The attributes of a layer as they were before its projections were joined, and after.

    Args:
        layer: of attention; its projections are not joined yet.
    """

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self._all = dict(vars(layer))
        self._children = set(layer._modules)
        self._processor = find_processor(layer)
        self._before: dict[str, Any] = {}
        self._after: dict[str, Any] = {}

    def note_changes(self) -> None:
        """The projections have been joined."""
        now = vars(self.layer)
        changed = [key for key, v in now.items() if key not in self._all or self._all[key] is not v]
        self._after = {key: now[key] for key in changed}
        self._before = {key: self._all[key] for key in changed if key in self._all}

    @property
    def processors(self) -> tuple[object, object]:
        """What computed the attention before, and what does after."""
        return self._processor, self._after.get("processor", self._processor)

    @property
    def joined_layers(self) -> list[nn.Module]:
        """The layers that have been made of several."""
        new = self.layer._modules.keys() - self._children
        return [child for key in new if (child := self.layer._modules[key]) is not None]

    def part(self) -> None:
        """Let the layer compute from separate projections, unless others have changed it."""
        own = vars(self.layer)
        if all(own.get(key) is value for key, value in self._after.items()):
            for key in self._after:
                own.pop(key)
            own.update(self._before)

    def join(self) -> None:
        """Let it compute from joined projections again, unless others have changed it."""
        own = vars(self.layer)
        is_parted = all(own.get(key) is self._before.get(key) for key in self._after)
        if is_parted:
            own.update(self._after)


@dataclass(frozen=True)
class CallChoice:
    """A hook before a layer, by which calls that joined projections cannot serve are not theirs.

    Attributes:
        attributes: of the layer.
        ways: the calls that they serve: without another sequence, or with one.
    """

    attributes: FusedAttributes
    ways: Ways

    def __call__(self, _: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """Let the layer compute from joined projections, or not, in the call that comes."""
        states = given[1] if len(given) > 1 else named.get(STATES)
        if (states is not None) in self.ways:
            self.attributes.join()
        else:
            self.attributes.part()


def find_processor(layer: nn.Module) -> object:
    """What computes a layer's attention; `None` where it does so itself."""
    return vars(layer).get("processor", layer._modules.get("processor"))
