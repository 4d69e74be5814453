"""A network whose weights live on the host and are copied to the device block by block.

It knows which tensors belong to which block, packs them, and keeps the order in which each of its
methods uses the blocks. Hooks report every call and every block to a listener, which decides when
weights are copied.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from dpnb.strategies.offload.block_hooks import hook_blocks
from dpnb.strategies.offload.block_order import BlockOrder
from dpnb.strategies.offload.blocks import (
    SMALL_TENSOR,
    group_tied_tensors,
    is_divided,
    own_tensors_of,
    split_into_blocks,
    tensors_of,
)
from dpnb.strategies.offload.calls import intercept, replace_methods
from dpnb.strategies.offload.gradients import refuse_gradients
from dpnb.strategies.offload.inputs import bring_inputs
from dpnb.strategies.offload.link import Link
from dpnb.strategies.offload.packing import PackedWeights
from dpnb.strategies.offload.reached_parts import ReachedParts, find_reached_parts
from dpnb.strategies.offload.source_paths import SourcePath
from dpnb.strategies.undo import Undo


class NetworkListener(Protocol):
    """What hears of a network's calls and of its blocks."""

    def call(self, network: StreamedNetwork, method: str) -> AbstractContextManager[None]:
        """A method is called; it runs within."""
        ...

    def enter_block(self, network: StreamedNetwork, module: nn.Module) -> None:
        """A block is about to compute."""
        ...

    def leave_block(self, network: StreamedNetwork, module: nn.Module) -> None:
        """A block has computed, or failed to."""
        ...


class StreamedNetwork:
    """The weights of a network, packed block by block, and hooks that tell when a block computes.

    Args:
        name: of the network.
        module: the network.
        is_excluded: whether somebody else looks after a tensor.
        paths: that the code of the pipeline follows from the network on.

    Attributes:
        packs: block → its large tensors; `None` where it has none.
        small_tensors: all others of the network, and those that code computes with past the blocks;
            they are on the device for a whole run.
        latest_order: of the method that was called last.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        is_excluded: Callable[[Tensor], bool],
        paths: frozenset[SourcePath] = frozenset(),
    ) -> None:
        self.name, self.module = name, module
        self.packs: dict[nn.Module, PackedWeights | None] = {}
        self.small_tensors = PackedWeights(name, [])
        self.latest_order: BlockOrder | None = None
        self._is_excluded, self._paths = is_excluded, paths
        self._reached = ReachedParts()
        self._orders: dict[str, BlockOrder] = {}
        self._small_memory: Tensor | None = None
        self._tensor_ids: list[int] = []
        self._undo = Undo()
        self._assign_tensors()

    @property
    def weights(self) -> list[PackedWeights]:
        """What streams, block by block, in the order in which the blocks are registered."""
        return [weights for weights in self.packs.values() if weights is not None]

    @property
    def is_read_in_runs(self) -> bool:
        """Whether the pipeline's code computes with tensors of the network by itself."""
        return bool(self._reached.tensors_from_outside)

    @property
    def is_read_in_calls(self) -> bool:
        """Whether the network's code computes with tensors of its blocks by itself."""
        return bool(self._reached.tensors)

    def order_of(self, method: str) -> BlockOrder:
        """The order in which a method uses the blocks; it is the latest one from now on."""
        self.latest_order = self._orders.setdefault(method, BlockOrder(self.weights))
        return self.latest_order

    def open(self, link: Link, listener: NetworkListener) -> None:
        """Pack the weights in pinned memory, and add hooks."""
        self._undo = Undo()
        for weights in (self.small_tensors, *self.weights):
            self._undo.callback(weights.unpack)
            weights.pack()
            self._undo.callback(link.unpin, weights.memory)
            link.pin(weights.memory)
        self._hook_blocks(listener)
        intercept(self.module, lambda method: listener.call(self, method), self._undo)
        replace_methods(self.module, lambda method, _: refuse_gradients(method), self._undo)
        replace_methods(
            self.module, lambda method, _: bring_inputs(method, link.device), self._undo
        )

    def close(self) -> None:
        """Everything as it was before."""
        self.unload_small_tensors()
        self._undo.close()

    def set_original_device(self, device: torch.device) -> None:
        """Let this be the device to which the weights go once they stream no more."""
        for weights in (self.small_tensors, *self.weights):
            weights.set_original_device(device)

    def load_small_tensors(self, link: Link, listener: NetworkListener) -> None:
        """Copy the small tensors to the device; changes made by hand are packed before that."""
        if self._small_memory is not None:
            return
        self._repack_changes(link, listener)
        small = self.small_tensors
        memory = self._small_memory = link.allocate(small.nbytes)
        what = f"{self.name}, small tensors"
        link.copy(memory, small.memory, link.mark(), what).wait()
        small.point_to_device(small.make_views(memory, 0))

    def unload_small_tensors(self) -> None:
        """Free the device memory of the small tensors."""
        self.small_tensors.point_to_host()
        self._small_memory = None

    @property
    def are_small_tensors_loaded(self) -> bool:
        """Whether the small tensors are on the device."""
        return self._small_memory is not None

    def _repack_changes(self, link: Link, listener: NetworkListener) -> None:
        """Pack again what parameters have been given since, and all if tensors came or went."""
        is_same = self._tensor_ids == [id(tensor) for tensor in tensors_of(self.module)]
        if is_same and all(pack.adopt_changes() for pack in (self.small_tensors, *self.weights)):
            return
        self._undo.close()
        self._assign_tensors()
        self.open(link, listener)

    def _assign_tensors(self) -> None:
        """Say which tensors belong to which block."""
        places: dict[int, list[nn.Module]] = {}
        names: dict[nn.Module, str] = {}
        for name, module in split_into_blocks(self.module):
            names[module] = f"{self.name}.{name}" if name else self.name
            for tensor in own_tensors_of(module) if is_divided(module) else tensors_of(module):
                places.setdefault(id(tensor), []).append(module)
        small: list[list[Tensor]] = []
        large: dict[nn.Module, list[list[Tensor]]] = {module: [] for module in names}
        everything = tensors_of(self.module)
        self._reached = find_reached_parts(self.module, self._paths)
        read = self._reached.tensors | self._reached.tensors_from_outside
        for group in group_tied_tensors(
            [tensor for tensor in everything if not self._is_excluded(tensor)]
        ):
            homes = {module for tensor in group for module in places[id(tensor)]}
            home = homes.pop()
            is_read = not read.isdisjoint(map(id, group))
            if group[0].nbytes < SMALL_TENSOR or homes or is_divided(home) or is_read:
                small.append(group)
            else:
                large[home].append(group)
        self._tensor_ids = [id(tensor) for tensor in everything]
        self._orders, self.latest_order = {}, None
        self.small_tensors = PackedWeights(self.name, small)
        self.packs = {
            module: PackedWeights(names[module], groups) if groups else None
            for module, groups in large.items()
        }

    def _hook_blocks(self, listener: NetworkListener) -> None:
        enter, leave = partial(listener.enter_block, self), partial(listener.leave_block, self)
        hook_blocks(self.packs, self._reached, enter, leave, self._undo)
