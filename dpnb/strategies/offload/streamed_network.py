"""A network whose weights live on the host and come to the device unit by unit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor, nn

from dpnb.strategies.offload.block_order import BlockOrder
from dpnb.strategies.offload.blocks import SMALL, is_divided, own_tensors, tensors_of, tied, units
from dpnb.strategies.offload.calls import intercept
from dpnb.strategies.offload.link import Link
from dpnb.strategies.offload.packing import PackedWeights
from dpnb.strategies.undo import Undo

Kept = Callable[[Tensor], bool]


class Traffic(Protocol):
    """What is told of a network's calls and of its units."""

    def call(self, network: StreamedNetwork, method: str) -> AbstractContextManager[None]:
        """A method is called; it runs within."""
        ...

    def enter(self, network: StreamedNetwork, module: nn.Module) -> None:
        """A unit is about to compute."""
        ...

    def leave(self, network: StreamedNetwork, module: nn.Module) -> None:
        """A unit has computed, or failed to."""
        ...


class StreamedNetwork:
    """The weights of a network, packed unit by unit, and hooks that tell when a unit computes.

    Args:
        name: of the network.
        module: the network.
        is_kept_out: whether somebody else looks after a tensor.

    Attributes:
        packs: every unit, and its large weights; `None` where it has none.
        small: all other tensors of the network.
        latest: the order of the method that was called last.
    """

    def __init__(self, name: str, module: nn.Module, is_kept_out: Kept) -> None:
        self.name, self.module = name, module
        self.packs: dict[nn.Module, PackedWeights | None] = {}
        self.small = PackedWeights(name, [])
        self.latest: BlockOrder | None = None
        self._is_kept_out = is_kept_out
        self._orders: dict[str, BlockOrder] = {}
        self._memory: Tensor | None = None
        self._tensors: list[int] = []
        self._undo = Undo()
        self._divide()

    @property
    def weights(self) -> list[PackedWeights]:
        """What streams, unit by unit, in the order in which it is registered."""
        return [weights for weights in self.packs.values() if weights is not None]

    def order_of(self, method: str) -> BlockOrder:
        """The order in which a method uses the blocks, as far as that is known."""
        self.latest = self._orders.setdefault(method, BlockOrder(self.weights))
        return self.latest

    def open(self, link: Link, traffic: Traffic) -> None:
        """Pack the weights, and place hooks."""
        self._undo = Undo()
        for weights in (self.small, *self.weights):
            self._undo.callback(weights.unpack)
            weights.pack()
            self._undo.callback(link.unpin, weights.host)
            link.pin(weights.host)
        for module in self.packs:
            self._watch(module, traffic)
        intercept(self.module, lambda method: traffic.call(self, method), self._undo)

    def close(self) -> None:
        """Everything as it was before."""
        self.depart()
        self._undo.close()

    def rehome(self, device: torch.device) -> None:
        """Let this be the device to which the weights go once they stream no more."""
        for weights in (self.small, *self.weights):
            weights.rehome(device)

    def arrive(self, link: Link, traffic: Traffic) -> None:
        """The small tensors are on the device from now on; changes made by hand are taken over."""
        if self._memory is not None:
            return
        self._refresh(link, traffic)
        self._memory = link.room(self.small.nbytes)
        mark = link.copy(self._memory, self.small.host, link.mark(), f"{self.name}, small tensors")
        mark.wait()
        self.small.lend(self.small.views(self._memory, 0))

    def depart(self) -> None:
        """The small tensors leave the device."""
        self.small.recall()
        self._memory = None

    @property
    def is_here(self) -> bool:
        """Whether the small tensors are on the device."""
        return self._memory is not None

    def _refresh(self, link: Link, traffic: Traffic) -> None:
        """See to it that what is packed are the values that the parameters have now."""
        is_same = self._tensors == [id(tensor) for tensor in tensors_of(self.module)]
        if is_same and all(pack.take_over() for pack in (self.small, *self.weights)):
            return
        self._undo.close()
        self._divide()
        self.open(link, traffic)

    def _divide(self) -> None:
        """Say which tensors belong to which unit."""
        places: dict[int, list[nn.Module]] = {}
        names: dict[nn.Module, str] = {}
        for name, module in units(self.module):
            names[module] = f"{self.name}.{name}" if name else self.name
            for tensor in own_tensors(module) if is_divided(module) else tensors_of(module):
                places.setdefault(id(tensor), []).append(module)
        small: list[list[Tensor]] = []
        large: dict[nn.Module, list[list[Tensor]]] = {module: [] for module in names}
        everything = tensors_of(self.module)
        for group in tied([tensor for tensor in everything if not self._is_kept_out(tensor)]):
            homes = {module for tensor in group for module in places[id(tensor)]}
            home = homes.pop()
            if group[0].nbytes < SMALL or homes or is_divided(home):
                small.append(group)
            else:
                large[home].append(group)
        self._tensors = [id(tensor) for tensor in everything]
        self._orders, self.latest = {}, None
        self.small = PackedWeights(self.name, small)
        self.packs = {
            module: PackedWeights(names[module], groups) if groups else None
            for module, groups in large.items()
        }

    def _watch(self, module: nn.Module, traffic: Traffic) -> None:
        # Weights have to come before any other hook of the module sees them, and leave after.
        self._undo.before(module, lambda module, _: traffic.enter(self, module), prepend=True)
        self._undo.after(module, lambda module, *_: traffic.leave(self, module), always_call=True)
